"""Scenarios that run the image and check what a machine does. The docstring of each says what it shows.

Start reading at `boot.py`; `place.py` runs the containers.
"""

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
    """Run the named scenarios. Return 1 if one failed."""
    failed = 0
    begun = time.monotonic()
    for name in names:
        failed += not asyncio.run(_passes(engine, name))
    print(f"\n{len(names) - failed} of {len(names)} scenarios, {time.monotonic() - begun:.0f} s")
    return int(failed > 0)


async def _passes(engine: Engine, name: str) -> bool:
    scenario = SCENARIOS[name]
    begun = time.monotonic()
    good = True
    try:
        async with world(engine) as here:
            report = await scenario(here)
    except (Wrong, Failed) as wrong:
        good, report = False, str(wrong)
    except Exception:  # noqa: BLE001 - the other scenarios still run
        good, report = False, traceback.format_exc()
    print(
        f"{'ok   ' if good else 'FAIL '} {name:<10} {time.monotonic() - begun:5.1f} s  {scenario.__doc__}", flush=True
    )
    print("\n".join(f"      {line}" for line in report.splitlines()), flush=True)
    return good
