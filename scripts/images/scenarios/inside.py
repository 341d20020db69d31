"""What the agent's own check says on a machine."""

from __future__ import annotations

from scripts.images.scenarios.place import World, Wrong

# A machine's root may do everything; a container's may not even see which files an agent has open that hides them.
ROOT_ON_FLY = ("--cap-add", "SYS_PTRACE")
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
    async with world.machine(*ROOT_ON_FLY) as machine:
        await machine.until_page("the first page")
        said = (await machine.exec("sh", "-c", CHECK)).splitlines()
        bad = [line for line in said if line.startswith("FAIL")]
        begun = [line.partition("attacks: ")[2] for line in said if " attacks: " in line]
        if bad or not begun or "the agent that runs" not in begun[0]:
            raise Wrong("\n".join(bad) or f"what was attacked: {begun}")
        return f"{len(said)} lines, none of them a failure; {begun[0]}"
