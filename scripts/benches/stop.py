"""Measures SIGTERM → no process left of the agent, its dev server, and everything they started.

The processes are listed right before the signal. An orphan is a process that still works in the workspace after the
agent has ended.
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
POLL_SECONDS = 0.002


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
            "SIGTERM -> no process left, maximum",
            "s",
            max(times),
            how,
            budget=Budget(2),
            samples={"stop": times},
        ),
        Row("stop_orphans", "  orphans", "", orphans, "in all of these stops", budget=Budget(0)),
    ]


async def _stopped(running: Stack, place: Path) -> tuple[float, int, int]:
    """Return the seconds until all had ended, the agent's exit status, and the number of orphans."""
    child = running.agent.child
    family = psutil.Process(child.pid).children(recursive=True)
    began = time.perf_counter()
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(GONE_WITHIN):
        status = await child.wait()
    took = time.perf_counter() - began
    while any(_is_running(process) for process in family) and took < GONE_WITHIN:
        await asyncio.sleep(POLL_SECONDS)  # not our children, so there is no event for their end
        took = time.perf_counter() - began
    left = _processes_in(place)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return took, status, len(left)


def _is_running(process: psutil.Process) -> bool:
    """True unless the process has ended; a zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _processes_in(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(place):
                found.append(process)
    return found
