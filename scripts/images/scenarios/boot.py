"""Starts: what a visitor sees, and how much time the cache saves."""

from __future__ import annotations

import asyncio
import time

from scripts.images.scenarios.place import POLL_SECONDS, Container, World, Wrong, scripts_of

WAKING = 'data-kind="waking"'
GAIN = 0.8  # of the time without a cache; measured: 0.3 to 0.45
WITHOUT_CACHE = ("--entrypoint", "sh", "--", "-c", "rm -rf /workspace/.next && exec python3 -m agent run")


async def boot(world: World) -> str:
    """A new machine shows the waking page, then the app's first page, whole and run by the user `preview`"""
    async with world.machine() as machine:
        waking = await _waking(machine)
        first = await machine.until_page("the first page")
        _, html = await machine.get()
        count = 0
        for script in scripts_of(html):
            status, text = await machine.get(script)
            count += 1
            if status != 200 or not text:
                raise Wrong(f"{script} answered {status}")
        if count < 3:
            raise Wrong(f"the page names {count} scripts and styles of its own: {html[:300]}")
        user = (await machine.status())["isolation"]["user"]
        if user != "preview":
            raise Wrong(f"the dev server runs as {user or 'root'}")
        return f"waking page {waking:.1f} s, first page {first:.1f} s, {count} scripts and styles, run by {user}"


async def cache(world: World) -> str:
    """The first page appears sooner with the image's cache than without it"""
    kept, none = [], []
    for _ in range(2):
        async with world.machine() as machine:
            kept.append(await machine.until_page("the first page"))
        async with world.machine(*WITHOUT_CACHE) as machine:
            none.append(await machine.until_page("the first page"))
    ratio = min(kept) / min(none)
    if ratio > GAIN:
        raise Wrong(f"with the cache {kept}, without {none}: only {ratio:.2f} of the time")
    return f"{min(kept):.1f} s with it, {min(none):.1f} s without"


async def again(world: World) -> str:
    """A machine that is started again with its old disk shows its page"""
    async with world.machine() as machine:
        first = await machine.until_page("the first page")
        await machine.signal("TERM")
        if (status := await machine.exited()) != 0:
            raise Wrong(f"it ended with {status}")
        await machine.start()
        second = await machine.until_page("the first page")
        return f"first page {first:.1f} s, after the second start {second:.1f} s"


async def _waking(machine: Container) -> float:
    """Return the seconds until the first answer, which has to be the waking page."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status, text = await machine.get()
        if status == 503 and WAKING in text:
            return time.monotonic() - machine.started
        if status:
            raise Wrong(f"the first answer was {status}: {text[:300]!r}")
        await asyncio.sleep(POLL_SECONDS / 5)
    raise Wrong("no answer within 20 s")
