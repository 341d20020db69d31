"""SIGTERM → everything gone: the agent, its dev server, and every process that those had started.

Gone is when the last of them is; who they were is asked right before the signal. An orphan is who still lives in the
workspace once the agent has ended.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from scripts.benches import app
from scripts.benches.place import Bench
from scripts.benches.rows import Budget, Row
from scripts.benches.running import agent
from tests.peers.stack import Stack, backend

GONE_WITHIN = 10.0
LOOK_SECONDS = 0.002


async def measure(bench: Bench) -> list[Row]:
    place, times, orphans, statuses = bench.workspace({}), [], 0, set()
    runs = bench.either(20, 4)
    async with backend(bench.folder(), bench.port()) as api:
        await api.put(app.WHOLE)
        for number in range(1, runs + 1):
            if number % 5 == 1:
                bench.say(f"stop: {runs - number + 1} stops to go")
            async with agent(bench, place, api.url) as running:
                await running.ready()
                took, status, left = await _stopped(running, place)
            times.append(took)
            statuses.add(status)
            orphans += left
    how = f"{runs} stops of an agent with next dev ready; exit status {', '.join(map(str, sorted(statuses)))}"
    return [
        Row(
            "stop",
            "SIGTERM -> everything gone, the longest",
            "s",
            max(times),
            how,
            budget=Budget(2),
            samples={"stop": times},
        ),
        Row("stop_orphans", "  processes left behind", "", orphans, "in all of these", budget=Budget(0)),
    ]


async def _stopped(running: Stack, place: Path) -> tuple[float, int, int]:
    """Seconds until all were gone, the agent's exit status, and how many were left then."""
    child = running.agent.child
    family = psutil.Process(child.pid).children(recursive=True)
    began = time.perf_counter()
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(GONE_WITHIN):
        status = await child.wait()
    took = time.perf_counter() - began
    while any(_lives(process) for process in family) and took < GONE_WITHIN:
        await asyncio.sleep(LOOK_SECONDS)  # they are not our children: nothing tells of their end
        took = time.perf_counter() - began
    left = _living_in(place)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return took, status, len(left)


def _lives(process: psutil.Process) -> bool:
    """What has ended and waits for its status to be read is gone."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _living_in(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(place):
                found.append(process)
    return found
