"""Repairs of the real Next.js: what it stands on is really broken."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

import psutil
import pytest

from agent.clock import Clock
from agent.devserver.repair.memory_limit import MIB
from agent.devserver.supervisor import Supervisor
from agent.process.find import is_free
from tests.peers.control_group import ControlGroup, control_group
from tests.peers.dev_server import Board, applied, living
from tests.peers.small_disk import small_disk

pytestmark = [pytest.mark.long, pytest.mark.next, pytest.mark.timeout(180)]

PAGE = "export default function Page() {\n  return <p>hello</p>;\n}\n"
CACHE = ".next/dev/cache/turbopack"
FLUSHED = 10 * MIB
"""Turbopack writes its cache some seconds after the first page; smaller, it is not all there."""
SMALL_DISK = 126 * MIB
OLD_CACHE = 100 * MIB
"""A first page takes some 19 MiB, so that what Turbopack keeps of it does not fit any more."""

Run = Callable[..., AbstractAsyncContextManager[tuple[Board, Supervisor]]]


@pytest.fixture
def folder(workspace: Callable[..., Path]) -> Path:
    made = workspace()
    (made / "app").mkdir(exist_ok=True)
    (made / "app" / "page.tsx").write_text(PAGE)
    return made


@pytest.fixture
def run(folder: Path, free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Starts a supervisor with the real Next in the folder, as often as it is called. Nothing of it may be left."""
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 60.0)

    @asynccontextmanager
    async def start(group: ControlGroup | None = None, **environ: str) -> AsyncIterator[tuple[Board, Supervisor]]:
        port, board = free_port(), Board()
        command = ("node", "node_modules/next/dist/bin/next", "dev", "-p", str(port), "-H", "127.0.0.1")
        told = ("/usr/bin/env", *(f"{name}={value}" for name, value in environ.items()), *command)
        supervisor = Supervisor(
            command=group.command(*told) if group else told,
            workspace=folder,
            state_dir=tmp_path / "state",
            port=port,
            clock=Clock(chance=lambda: 0.0),
            publish=board.publish,
            problems=board.problems,
            environ=os.environ,
        )
        supervisor.files_changed(applied("app/page.tsx"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            try:
                yield board, supervisor
            finally:
                session = board.now.pid
                await supervisor.stop()
        assert session is None or not living(session)
        assert is_free(port)

    return start


async def flushed(folder: Path) -> None:
    def size() -> int:
        files = [path for path in (folder / CACHE).rglob("*") if path.is_file()]
        index = any(path.name == "CURRENT" for path in files) and any(path.suffix == ".meta" for path in files)
        return sum(path.stat().st_size for path in files) if index else 0

    page = folder / "app" / "page.tsx"
    async with asyncio.timeout(60):
        for edit in count():
            if await asyncio.to_thread(size) >= FLUSHED:
                return
            if edit % 30 == 29:  # left alone after a single page, Turbopack may never write anything
                page.write_text(f"{PAGE}// {edit}\n")
            await asyncio.sleep(0.2)


async def test_a_cache_full_of_noise_is_removed_and_the_next_start_works(run: Run, folder: Path) -> None:
    async with run() as (board, _):
        await board.state("ready")
        await flushed(folder)
    # Without these Turbopack does not start at all, and Next never heals that by itself.
    for path in [*(folder / CACHE).rglob("*.meta"), *(folder / CACHE).rglob("CURRENT")]:
        path.write_bytes(os.urandom(path.stat().st_size))
    async with run() as (board, _):
        ready = await board.state("ready")

    assert ready.crashes == 1
    assert [entry.what for entry in ready.repairs] == ["removed .next/dev/cache and restarted it"]
    assert ready.repairs[0].outcome.startswith("ready after"), ready.repairs
    assert board.told["dev_server"] == ()


@pytest.fixture
def nearly_full(folder: Path) -> Iterator[None]:
    """`.next` on a filesystem of its own, which the cache of earlier days fills but for one first page."""
    output = folder / ".next"
    output.mkdir()
    with small_disk(output, SMALL_DISK):
        (output / "dev/cache/images").mkdir(parents=True)
        (output / "dev/cache/images/old").write_bytes(bytes(OLD_CACHE))
        yield


@pytest.mark.usefixtures("nearly_full")
async def test_a_disk_that_the_cache_has_filled_is_emptied_and_it_goes_on(run: Run, folder: Path) -> None:
    async with run() as (board, _):
        await board.state("ready")
        filling = asyncio.create_task(flushed(folder))
        try:
            await board.until(lambda: board.now.repairs and board.repair.outcome.startswith("ready after"))
        finally:
            filling.cancel()
        ready = await board.state("ready")

    assert [entry.what for entry in ready.repairs] == ["removed the caches and restarted it"]
    assert ready.repairs[0].why.startswith("the disk is full: ")
    assert ready.crashes == 0
    assert board.told["dev_server"] == ()
    assert not (folder / ".next/dev/cache/images").exists()


async def test_a_lock_that_a_stranger_holds_is_told_with_its_name_until_it_is_free(run: Run, folder: Path) -> None:
    (folder / ".next/dev").mkdir(parents=True)
    with (folder / ".next/dev/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with run() as (board, _):
            await board.until(lambda: board.told.get("dev_server"))
            (problem,) = board.told["dev_server"]
            fcntl.flock(lock, fcntl.LOCK_UN)
            ready = await board.state("ready")

    assert f"held by {psutil.Process().name()} (pid {os.getpid()}), which this agent did not start" in problem.message
    assert (ready.crashes, ready.repairs) == (0, ())


async def test_memory_is_given_back_by_nexts_own_restart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.devserver.repair.diagnosis.NEAR_SECONDS", 0.0)
    monkeypatch.setattr("agent.devserver.repair.diagnosis.QUIET_SECONDS", 1.0)
    monkeypatch.setattr("agent.devserver.repair.diagnosis.AT_LIMIT", 2.0)
    monkeypatch.setattr("agent.devserver.repair.controller.CHECK_EVERY", 0.5)
    monkeypatch.setattr("agent.devserver.health.SAMPLE_EVERY", 0.5)
    with control_group(2048 * MIB) as group:
        async with run(group) as (board, _):
            await board.state("ready")
            pid, before = board.pid, worker(board.pid)
            monkeypatch.setattr("agent.devserver.repair.diagnosis.NEAR_LIMIT", 0.05)
            monkeypatch.setattr("agent.devserver.repair.diagnosis.OWN_SHARE", 0.05)
            await board.until(lambda: board.now.repairs and board.repair.outcome.startswith("ready after"))
            await board.state("ready")

            assert (board.pid, board.now.crashes, board.now.restarts) == (pid, 0, 0)
            assert worker(board.pid) != before
            assert board.now.repaired == 1


async def test_a_server_that_the_kernel_killed_says_so_until_it_gives_up(run: Run) -> None:
    with control_group(200 * MIB) as group:
        async with run(group) as (board, _):
            failed = await board.state("failed")
            problems = [problem.message for problem in board.told["dev_server"]]

    assert "the kernel killed it at its memory limit (200 MiB)" in failed.repairs[0].why
    assert failed.repaired == 5
    assert failed.repairs[0].outcome.startswith("did not help")
    assert "the machine is too small for this app, give it 1,024 MiB of memory" in problems[0]


def worker(pid: int) -> psutil.Process:
    (found,) = (child for child in psutil.Process(pid).children() if child.name().startswith("next-server"))
    return found


async def test_a_changed_configuration_that_next_missed_is_read_all_the_same(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.nextjs.config_watch.UNSEEN_SECONDS", 1.0)
    # Next really misses a change that comes after it has read the file and before it watches it; this makes that long.
    async with run(WATCHPACK_POLLING="3600000") as (board, supervisor):
        await board.state("ready")
        before = board.now.pid
        (folder / "staged").write_text('export default { env: { WORD: "second" } };\n')
        (folder / "staged").rename(folder / "next.config.ts")
        (folder / "app" / "page.tsx").write_text(PAGE.replace("hello", "{process.env.WORD}"))
        supervisor.files_changed(applied("next.config.ts", "app/page.tsx"))
        await board.until(lambda: board.now.state == "ready" and board.now.pid != before)
        (repair,) = board.now.repairs
        assert (repair.what, repair.why) == ("restarted it", "next.config changed and Next.js missed it")
        assert repair.outcome.startswith("ready after ")
        assert board.now.crashes == 0
