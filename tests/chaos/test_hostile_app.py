"""An app that means harm, as another user under the whole agent: the agent stays up, answers, and ends all of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.peers.plain import plain_backend
from tests.peers.split import NOBODY, PYTHON, needs_split, open_folder
from tests.peers.stack import Stack, stack

pytestmark = [needs_split, pytest.mark.timeout(120)]

HOSTILE = Path(__file__).parents[1] / "peers" / "hostile.py"
TASKS = 200
ANSWER_SECONDS = 5.0


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as folder:
        shutil.copy(HOSTILE, folder / "hostile.py")
        yield folder


@asynccontextmanager
async def attacked(place: Path, free_port: Callable[[], int], deed: str) -> AsyncIterator[Stack]:
    """An agent whose app does `deed` once it is up. It gets few tasks and one core, since others run beside it."""
    async with plain_backend(place, free_port()) as backend:
        await backend.put({"app/page.tsx": "1"})
        limit = f"taskset --cpu-list {min(os.sched_getaffinity(0))} prlimit --nproc={TASKS}:{TASKS}"
        agent_port, port = free_port(), free_port()
        command = f"{limit} {PYTHON} -S -E {place / 'hostile.py'} {{port}} {deed} {agent_port} {port}"
        environ = {
            "DEV_USER": str(NOBODY),
            "DEV_COMMAND": command,
            "AGENT_PORT": str(agent_port),
            "PORT": str(port),
            "POLL_INTERVAL": "200ms",
        }
        async with stack(place, place / "app", backend.url, free_port, **environ) as it:
            it.port, it.agent_port = port, agent_port
            await it.ready()
            yield it


async def said(it: Stack, words: str) -> str:
    """The first line of the app's output that holds `words`; fails with the last of what it said instead."""
    lines: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while True:
                async with it.session.get(f"{it.admin}/logs") as answer:
                    lines = (await answer.text()).splitlines()
                for line in lines:
                    if words in line:
                        return line
                await asyncio.sleep(0.05)
    raise AssertionError("\n".join([f"never said {words!r}, but:", *lines[-40:], "the agent:", it.tail()]))


def of_nobody() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["uids", "status"])
        if process.info["uids"].real == NOBODY and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


async def test_a_fork_bomb_stops_at_its_limit_and_is_ended_whole(place: Path, free_port: Callable[[], int]) -> None:
    before = {process.pid for process in of_nobody()}
    async with attacked(place, free_port, "bomb") as it:
        async with asyncio.timeout(30):
            while len(of_nobody()) < TASKS * 3 // 4:  # noqa: ASYNC110 - nothing tells how many there are
                await asyncio.sleep(0.05)
        status = await it.until(lambda _: True, within=60, patience=30)  # with a core for hundreds, it takes its time
        assert status["phase"] in {"running", "degraded"}
        began = time.monotonic()
        assert await it.agent.stop(signal.SIGTERM) == 0
        print(f"ended in {time.monotonic() - began:.2f} s")  # noqa: T201 - for pytest -s
        assert {process.pid for process in of_nobody()} <= before


async def test_processes_that_are_gone_before_they_are_found_are_ended_all_the_same(
    place: Path, free_port: Callable[[], int]
) -> None:
    before = {process.pid for process in of_nobody()}
    async with attacked(place, free_port, "comets") as it:
        await said(it, "comets fly")
        first = (await it.status())["dev_server"]["pid"]
        psutil.Process(first).kill()
        await it.until(lambda status: not status["missing"] and status["dev_server"]["pid"] != first)
        await said(it, "comets fly")
        assert await it.agent.stop(signal.SIGTERM) == 0
        assert {process.pid for process in of_nobody()} <= before


async def test_no_signal_reaches_the_agent(place: Path, free_port: Callable[[], int]) -> None:
    async with attacked(place, free_port, "signals") as it:
        assert await said(it, "signals refused") == "signals refused True taken 0"
        assert (await it.status())["phase"] == "running"


@pytest.mark.parametrize("deed", ["flood", "lines"])
async def test_a_flood_of_output_costs_neither_memory_nor_answers(
    place: Path, free_port: Callable[[], int], deed: str
) -> None:
    async with attacked(place, free_port, deed) as it:
        slowest = 0.0
        agent = psutil.Process(it.agent.child.pid)
        before = agent.memory_info().rss
        end = asyncio.create_task(said(it, "the flood is over"))
        while not end.done():
            began = time.monotonic()
            await it.status()
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.01)
        await end
        grown = (agent.memory_info().rss - before) / 2**20
        print(f"slowest answer {slowest * 1000:.0f} ms, {grown:.1f} MiB more")  # noqa: T201 - for pytest -s
        assert slowest < ANSWER_SECONDS
        assert grown < 32
        assert it.agent.log.stat().st_size < 4 * 2**20


async def test_thousands_of_connections_leave_room_for_health_checks_and_for_the_sync(
    place: Path, free_port: Callable[[], int]
) -> None:
    async with attacked(place, free_port, "connections") as it:
        await said(it, "connections tried")
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await it.status()
        assert status["sync"]["state"] == "current"
        requests = status["sync"]["requests"]
        await it.until(lambda status: status["sync"]["requests"] > requests + 1)
        assert psutil.Process(it.agent.child.pid).num_fds() < 1500
        assert "gateway.full" in it.agent.log.read_text()


async def test_the_agents_ports_cannot_be_shared_or_shadowed(place: Path, free_port: Callable[[], int]) -> None:
    async with attacked(place, free_port, "squat") as it:
        await said(it, "squat tried")
        async with it.session.get(f"{it.admin}/logs") as answer:
            assert "squat got" not in await answer.text()


async def test_an_heir_without_a_mark_loses_the_port_to_the_next_server(
    place: Path, free_port: Callable[[], int]
) -> None:
    before = {process.pid for process in of_nobody()}
    async with attacked(place, free_port, "heir") as it:
        async with asyncio.timeout(20):
            while not [p for p in of_nobody() if "thief" in " ".join(p.cmdline())]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        first = (await it.status())["dev_server"]["pid"]
        psutil.Process(first).kill()
        status = await it.until(lambda status: not status["missing"] and status["dev_server"]["pid"] != first)
        assert status["dev_server"]["crashes"] == 1
        assert "dev_server.port_freed" in it.agent.log.read_text()
    for process in of_nobody():
        if process.pid not in before:
            process.kill()
