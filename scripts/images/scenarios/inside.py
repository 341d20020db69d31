"""Checks from inside a machine: `agent check`, and the authorities that TLS trusts."""

from __future__ import annotations

from scripts.images.scenarios.place import World, Wrong

# Root on a machine has all capabilities. In a container it needs this one to see the agent's open files.
ROOT_ON_FLY = ("--cap-add", "SYS_PTRACE")
AUTHORITIES = 100
"""Debian has about 150, some of which may have expired."""
TRUST = """
openssl verify /usr/share/ca-certificates/mozilla/*.crt 2>/dev/null | grep -c ': OK$'
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=unknown -keyout /tmp/key -out /tmp/unknown.crt 2>/dev/null
openssl verify /tmp/unknown.crt >/dev/null 2>&1 && echo trusted || echo refused
"""
CHECK = "python3 -m agent check || true"  # its output is checked, not its exit status


async def check(world: World) -> str:
    """`python -m agent check` finds nothing wrong on a new machine"""
    async with world.machine("--entrypoint", "python3", "--", "-m", "agent", "check") as machine:
        status = await machine.exited()
        output = await machine.tail()
        if status != 0:
            raise Wrong(f"it ended with {status}")
        return f"{len(output.splitlines())} lines, all ok"


async def attacks(world: World) -> str:
    """The same check attacks the running agent, as the app's own code could, and no attack succeeds"""
    async with world.machine(*ROOT_ON_FLY) as machine:
        await machine.until_page("the first page")
        output = (await machine.exec("sh", "-c", CHECK)).splitlines()
        bad = [line for line in output if line.startswith("FAIL")]
        begun = [line.partition("attacks: ")[2] for line in output if " attacks: " in line]
        if bad or not begun or "the running agent" not in begun[0]:
            raise Wrong("\n".join(bad) or f"what was attacked: {begun}")
        return f"{len(output)} lines, none of them a failure; {begun[0]}"


async def trust(world: World) -> str:
    """TLS trusts Debian's authorities, which are looked up one by one, and no other"""
    async with world.machine("--entrypoint", "sh", "--", "-c", TRUST) as machine:
        await machine.exited()
        known, unknown = (await machine.tail()).split()
        if int(known) < AUTHORITIES or unknown != "refused":
            raise Wrong(f"{known} authorities are trusted, and an unknown one is {unknown}")
        return f"{known} authorities"
