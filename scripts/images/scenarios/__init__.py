"""What a machine has to be seen doing, told one after the other. The first line of each scenario says what it shows."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence

from scripts.images.engine import Engine, Failed
from scripts.images.scenarios import boot, ends, inside, limits, live
from scripts.images.scenarios.place import World, Wrong, world

Scenario = Callable[[World], Awaitable[str]]

SCENARIOS: Mapping[str, Scenario] = {
    "boot": boot.boot,
    "cache": boot.cache,
    "edits": live.edits,
    "package": live.package,
    "term": ends.term,
    "int": ends.interrupt,
    "again": boot.again,
    "sleep": ends.sleep,
    "read-only": live.read_only,
    "1g": limits.gigabyte,
    "512m": limits.half,
    "memory": limits.out_of_memory,
    "disk": limits.full_disk,
    "check": inside.check,
    "attacks": inside.attacks,
    "trust": inside.trust,
}


def run(engine: Engine, names: Sequence[str]) -> int:
    """Tell each of them; exit status 1 when one did not end as it should."""
    failed = 0
    begun = time.monotonic()
    for name in names:
        failed += not asyncio.run(_tell(engine, name))
    print(f"\n{len(names) - failed} of {len(names)} scenarios, {time.monotonic() - begun:.0f} s")
    return int(failed > 0)


async def _tell(engine: Engine, name: str) -> bool:
    scenario = SCENARIOS[name]
    begun = time.monotonic()
    good = True
    try:
        async with world(engine) as here:
            said = await scenario(here)
    except (Wrong, Failed) as wrong:
        good, said = False, str(wrong)
    except Exception:  # noqa: BLE001 - one scenario that cannot be told leaves the others their turn
        good, said = False, traceback.format_exc()
    print(
        f"{'ok   ' if good else 'FAIL '} {name:<10} {time.monotonic() - begun:5.1f} s  {scenario.__doc__}", flush=True
    )
    print("\n".join(f"      {line}" for line in said.splitlines()), flush=True)
    return good
