"""Ends: by a signal, or by itself because it is not used."""

from __future__ import annotations

import time

from scripts.images.scenarios.place import World, Wrong

STOP_SECONDS = 5.0  # runtime/fly.toml, kill_timeout


async def term(world: World) -> str:
    """SIGTERM ends it with status 0, within Fly's kill_timeout"""
    return await _ended_by("TERM", world)


async def interrupt(world: World) -> str:
    """SIGINT does the same"""
    return await _ended_by("INT", world)


async def _ended_by(name: str, world: World) -> str:
    async with world.machine() as machine:
        await machine.until_page("the first page")
        begun = time.monotonic()
        await machine.signal(name)
        status = await machine.exited()
        took = time.monotonic() - begun
        if status != 0 or took > STOP_SECONDS:
            raise Wrong(f"SIG{name} ended it with {status} after {took:.1f} s")
        return f"exit 0 after {took:.1f} s"


async def sleep(world: World) -> str:
    """Without visitors it sleeps with status 0; started again from the image, as Fly does, it shows its page"""
    async with world.machine(IDLE_TIMEOUT="8s") as machine:
        await machine.until_page("the first page")
        begun = time.monotonic()
        if (status := await machine.exited(120)) != 0:
            raise Wrong(f"it ended with {status}")
        slept = time.monotonic() - begun
    async with world.machine() as machine:
        awake = await machine.until_page("the first page")
        return f"asleep after {slept:.1f} s of 8, first page {awake:.1f} s after the next start"
