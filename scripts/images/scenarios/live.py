"""A machine that is being worked with: edits, and where it may write."""

from __future__ import annotations

import time

from scripts.images.scenarios.place import World, Wrong, page

EDITS = 20


async def edits(world: World) -> str:
    """Twenty edits at the backend, each seen in the page's own HTML"""
    async with world.machine() as machine:
        await machine.until_page("the first page")
        took = []
        for number in range(EDITS):
            begun = time.monotonic()
            await world.backend.put({"app/page.tsx": page(f"edit number {number}.")})
            await machine.until_page(f"edit number {number}.", within=30)
            took.append(time.monotonic() - begun)
        return f"{sorted(took)[EDITS // 2]:.2f} s each, {max(took):.2f} s at most"


async def read_only(world: World) -> str:
    """With a read-only root, a volume at /srv/preview and a tmpfs at /tmp are all it writes to"""
    volume = world.volume()
    words = ("--read-only", "--tmpfs", "/tmp:size=64m", "--volume", f"{volume}:/srv/preview")
    async with world.machine(*words) as machine:
        first = await machine.until_page("the first page")
        await world.backend.put({"app/page.tsx": page("written to the volume"), "app/new/page.tsx": page("and new")})
        await machine.until_page("written to the volume")
        await machine.until_page("and new", "/new")
        refused = await machine.exec("sh", "-c", "touch /opt/agent/x /etc/x /x 2>&1 || true")
        if refused.count("Read-only file system") != 3:
            raise Wrong(f"its root can be written to: {refused!r}")
        return f"first page {first:.1f} s, edits and a new page"
