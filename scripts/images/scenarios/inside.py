"""What the agent's own check says on a machine."""

from __future__ import annotations

from scripts.images.scenarios.place import World, Wrong


async def check(world: World) -> str:
    """`python -m agent check` finds nothing wrong on a new machine"""
    async with world.machine("--entrypoint", "python3", "--", "-m", "agent", "check") as machine:
        status = await machine.exited()
        said = await machine.tail()
        if status != 0 or "FAIL" in said:
            raise Wrong(f"it ended with {status}")
        return f"{len(said.splitlines())} lines, all ok"
