"""What the agent's own check says on a machine."""

from __future__ import annotations

from scripts.images.scenarios.place import World, Wrong

CHECK = "python3 -m agent check || true"  # its lines say more than its exit status


async def check(world: World) -> str:
    """`python -m agent check` finds nothing wrong on a new machine"""
    async with world.machine("--entrypoint", "python3", "--", "-m", "agent", "check") as machine:
        status = await machine.exited()
        said = await machine.tail()
        if status != 0:
            raise Wrong(f"it ended with {status}")
        return f"{len(said.splitlines())} lines, all ok"


async def attacks(world: World) -> str:
    """The same check attacks an agent that runs, as the app's own code could, and nothing goes through"""
    async with world.machine() as machine:
        await machine.until_page("the first page")
        lines = (await machine.exec("sh", "-c", CHECK)).splitlines()
        if not any("attacks" in line.split()[1:2] for line in lines):
            return "left out: this agent's check attacks nothing"
        bad = [line for line in lines if line.startswith("FAIL")]
        if bad:
            raise Wrong("\n".join(bad))
        return f"{len(lines)} lines, none of them a failure"
