"""Each repair, over real processes, folders, locks and a real control group; what they say is what Next said."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent.devserver.repair import caches, controller, inotify
from agent.devserver.repair.evidence import DiskSpace
from agent.devserver.repair.memory_limit import MIB
from agent.devserver.repair.memory_reader import MemoryReader
from agent.isolation.child_environment import RUN_MARK
from tests.peers.control_group import control_group
from tests.peers.dev_server import odd_server, running

Port = Callable[[], int]
TOO_SMALL = "the machine is too small for this app, give it 1,024 MiB of memory"
READY = re.compile(r"ready after \d+\.\d s")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Where the supervisor of these tests works, with a cache that a start would find."""
    folder = tmp_path / "workspace"
    (folder / ".next/dev/cache/turbopack").mkdir(parents=True)
    (folder / ".next/dev/cache/turbopack/1.sst").write_text("of no use")
    return folder


LEFTOVER = """
import fcntl, os, time
lock = open(".next/dev/lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def leave_behind(workspace: Path) -> Iterator[Callable[..., psutil.Process]]:
    """A factory of processes that hold the lock and whose session's leader is gone, marked as an agent's or not."""
    made: list[psutil.Process] = []

    def make(*, mark: str | None) -> psutil.Process:
        command = f'"{sys.executable}" -S -E -c "$0" & wait'
        leader = subprocess.Popen(
            ("/bin/sh", "-c", command, LEFTOVER),
            cwd=workspace,
            env={"PATH": os.environ["PATH"]} | ({RUN_MARK: mark} if mark else {}),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with leader:
            assert leader.stdout is not None
            made.append(psutil.Process(int(leader.stdout.readline())))
            leader.kill()
        return made[-1]

    yield make
    for process in made:
        with suppress(psutil.Error):
            process.kill()


@pytest.fixture
def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of this machine, which has no limit to speak of, is not what these tests are about."""
    monkeypatch.setattr(MemoryReader, "read_again", lambda _: None)


async def test_a_server_that_the_kernel_killed_for_its_memory_is_back_and_the_reason_is_told(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "CHECK_EVERY", 0.1)
    monkeypatch.setattr("agent.devserver.health.SAMPLE_EVERY", 0.1)
    port = free_port()
    with control_group(64 * MIB) as group:
        async with running(group.command(*odd_server(port, "fork")), tmp_path, port) as it:
            board = it.board
            for times in (1, 2):
                await board.state("ready", starts=times - 1)
                await board.until(lambda: board.now.memory_limit_bytes == 64 * MIB)
                await it.act(f"fill-{128 * MIB}")
                back = await board.state("ready", starts=times)
            # Told until ten minutes have passed, although the server is ready.
            await board.until(lambda: any(TOO_SMALL in problem.message for problem in board.told["dev_server"]))

    assert (back.crashes, back.repaired) == (2, 2)
    assert [entry.what for entry in back.repairs] == ["started it again"] * 2
    assert back.repairs[0].why == "the kernel killed it at its memory limit (64 MiB)"
    assert READY.fullmatch(back.repairs[0].outcome)
    assert any("killed it at its memory limit (64 MiB)" in facts.reason for facts in board.states)


async def test_a_kill_before_its_time_is_no_reason_for_a_death(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "CHECK_EVERY", 0.1)
    monkeypatch.setattr("agent.devserver.health.SAMPLE_EVERY", 0.1)
    port = free_port()
    with control_group(64 * MIB) as group:
        hog = await asyncio.create_subprocess_exec(
            *group.command(sys.executable, "-c", f"print(len('x' * {128 * MIB}))")
        )
        assert await hog.wait() == -9
        async with running(group.command(*odd_server(port)), tmp_path, port) as it:
            await it.board.state("ready")
            await it.board.until(lambda: it.board.now.memory_limit_bytes == 64 * MIB)
            await it.act("exit-3")
            back = await it.board.state("ready", starts=1)

    assert (back.crashes, back.repairs) == (1, ())
    assert any("exited with status 3" in facts.reason for facts in it.board.states)


@pytest.mark.parametrize("flags", [(), ("no-recycle",)])
async def test_memory_near_its_limit_is_given_back_before_the_kernel_acts(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr("agent.devserver.repair.diagnosis.NEAR_SECONDS", 0.1)
    monkeypatch.setattr("agent.devserver.repair.diagnosis.QUIET_SECONDS", 0.1)
    monkeypatch.setattr("agent.devserver.repair.diagnosis.AT_LIMIT", 2.0)
    monkeypatch.setattr(controller, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(controller, "CHECK_OFTEN_EVERY", 0.1)
    monkeypatch.setattr("agent.devserver.health.SAMPLE_EVERY", 0.1)
    port = free_port()
    with control_group(128 * MIB) as group:
        async with running(group.command(*odd_server(port, *flags)), tmp_path, port) as it:
            await it.board.state("ready")
            pid = it.board.pid
            await it.act(f"fill-{105 * MIB}")
            await it.board.until(lambda: it.board.now.repairs and READY.fullmatch(it.board.repair.outcome))
            after = await it.board.state("ready")
            await it.board.until(lambda: (it.board.now.memory_used_bytes or 0) < 64 * MIB)

    assert after.repairs[0].what == "restarted it before the kernel would have killed it"
    assert re.fullmatch(r"(8|9)\d% of the memory limit of 128 MiB were used", after.repairs[0].why)
    assert (after.crashes, after.oom_kills) == (0, 0)
    assert (after.pid == pid, after.restarts) == ((False, 1) if flags else (True, 0))


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("says", ["garbled_table", "garbled_index"])
async def test_a_cache_that_kills_the_server_is_removed_before_the_next_start(
    tmp_path: Path, workspace: Path, free_port: Port, says: str
) -> None:
    port = free_port()
    flag = f"while:{workspace}/.next/dev/cache:say-{says}"
    async with running(odd_server(port, flag), tmp_path, port) as it:
        ready = await it.board.state("ready")

    (entry,) = ready.repairs
    assert entry.what == "removed .next/dev/cache and restarted it"
    assert READY.fullmatch(entry.outcome)
    assert (ready.crashes, ready.restarts) == (1, 1)
    assert list((workspace / ".next/dev").iterdir()) == []


@pytest.mark.usefixtures("without_limits")
async def test_a_server_that_panics_again_and_again_gets_a_new_cache_once(
    tmp_path: Path, workspace: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.repair.diagnosis.PANICS", 1)
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await it.act("say-garbled_table")
        await it.board.state("ready", starts=1)
        (workspace / ".next/dev/cache/turbopack").mkdir(parents=True)
        it.supervisor.restart("with a cache again")
        await it.board.state("ready", starts=2)
        await it.act("say-garbled_table")
        await it.board.until(lambda: it.board.told["dev_server"])
        (problem,) = it.board.told["dev_server"]

        assert it.board.now.repaired == 1
        assert it.board.now.restarts == 2
        assert problem.message.startswith("Turbopack panics again and again: turbopack/crates/turbo-persistence")


@pytest.mark.usefixtures("without_limits")
async def test_a_server_that_never_answers_after_a_warm_start_gets_a_new_cache(
    tmp_path: Path, workspace: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.transitions.START_SECONDS", 0.5)
    port = free_port()
    async with running(odd_server(port, f"while:{workspace}/.next/dev/cache:hang"), tmp_path, port) as it:
        ready = await it.board.state("ready", starts=1)

    assert "it has not answered within" in ready.repairs[0].why
    assert ready.repairs[0].why.endswith("after a start with a kept cache")
    assert not (workspace / ".next/dev/cache").exists()


@pytest.mark.usefixtures("without_limits")
async def test_a_server_that_spins_after_a_warm_start_gets_a_new_cache(
    tmp_path: Path, workspace: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devserver.repair.diagnosis.SPIN_SECONDS", 0.3)
    monkeypatch.setattr(
        "agent.devserver.repair.diagnosis.SPIN_SHARE", 0.2
    )  # of the cores, of which the odd server uses one at most
    monkeypatch.setattr(controller, "CHECK_EVERY", 0.1)
    monkeypatch.setattr("agent.devserver.health.SAMPLE_EVERY", 0.1)
    port = free_port()
    async with running(odd_server(port, f"while:{workspace}/.next/dev/cache:spin"), tmp_path, port) as it:
        ready = await it.board.state("ready", starts=1)

    assert ready.repairs[0].why.startswith("it used all cores for")
    assert ready.crashes == 0


@pytest.mark.usefixtures("without_limits")
async def test_a_lock_that_a_stranger_holds_is_told_with_its_name_and_tried_until_it_is_free(
    tmp_path: Path, workspace: Path, free_port: Port
) -> None:
    port = free_port()
    lock = workspace / ".next/dev/lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        flag = f"while:{workspace}/busy:say-lock_held"
        (workspace / "busy").touch()
        async with running(odd_server(port, flag), tmp_path, port) as it:
            await it.board.until(lambda: it.board.now.next_try_at and it.board.told["dev_server"])
            (problem,) = it.board.told["dev_server"]
            while not it.board.now.restarts > 6:
                await it.board.until(lambda: it.board.now.state == "starting")
                await it.board.until(lambda: it.board.now.state == "restarting")
            (workspace / "busy").unlink()
            ready = await it.board.state("ready")

    name = psutil.Process().name()
    assert f".next/dev/lock is held by {name} (pid {os.getpid()}), which this agent did not start" in problem.message
    assert (ready.crashes, ready.repaired) == (0, 0)


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("ours", [True, False])
async def test_a_lock_that_an_earlier_run_left_behind_is_freed_and_anybody_elses_is_not(
    tmp_path: Path,
    workspace: Path,
    free_port: Port,
    leave_behind: Callable[..., psutil.Process],
    *,
    ours: bool,
) -> None:
    holder = leave_behind(mark="of a record that was lost" if ours else None)
    port = free_port()
    (workspace / ".next/dev/lock").write_text('{"pid": 1}')  # what the file says of its holder is not believed
    async with running(odd_server(port, f"while:/proc/{holder.pid}:say-lock_held"), tmp_path, port) as it:
        if ours:
            ready = await it.board.state("ready")
            assert ready.repairs[0].what == "ended the earlier server"
            assert f"(pid {holder.pid}) of an earlier run" in ready.repairs[0].why
        else:
            await it.board.until(lambda: it.board.told["dev_server"])
            (problem,) = it.board.told["dev_server"]
            assert f"(pid {holder.pid}), which this agent did not start" in problem.message

    assert holder.is_running() != ours


@pytest.mark.usefixtures("without_limits")
async def test_a_full_disk_costs_the_caches_and_says_how_full_it_is(
    tmp_path: Path, workspace: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "fullest", lambda _: DiskSpace(MIB, 1000 * MIB))
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await it.act("say-disk_full_later")
        ready = await it.board.state("ready", starts=1)
        await it.board.until(lambda: it.board.told["dev_server"])
        (problem,) = it.board.told["dev_server"]

        assert not it.supervisor.free_space("the sync could not write")  # that was just done
    assert ready.repairs[0].what == "removed the caches and restarted it"
    assert ready.repairs[0].why == "the disk is full: 1 MiB of 1,000 MiB are free"
    assert problem.message.startswith("the disk is full: 1 MiB of 1,000 MiB are free; delete files")
    assert not (workspace / ".next/dev/cache").exists()


@pytest.mark.usefixtures("without_limits")
async def test_space_is_made_for_others_also_where_no_server_runs(
    tmp_path: Path, workspace: Path, free_port: Port
) -> None:
    program = workspace / "node_modules/next/dist/bin/next"
    async with running(("node", str(program)), tmp_path, free_port()) as it:
        await it.board.state("waiting")
        assert it.supervisor.free_space("the first sync could not write")
        await it.board.until(lambda: it.board.now.repairs and it.board.repair.outcome != "running")

    assert it.board.repair.outcome == "done, while no dev server was running"
    assert not (workspace / ".next/dev/cache").exists()


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_limit_of_file_watches_is_raised_or_told(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    limits = tmp_path / "inotify"
    limits.mkdir()
    for name in inotify.WANTED:
        (limits / name).write_text("128\n")
    if not allowed:
        (limits / "max_user_watches").unlink()
    monkeypatch.setattr(inotify.raise_limits, "__defaults__", (limits,))
    port = free_port()
    async with running(odd_server(port), tmp_path, port) as it:
        await it.board.state("ready")
        await it.act("say-no_watches")
        if allowed:
            ready = await it.board.state("ready", starts=1)
            assert READY.fullmatch(ready.repairs[0].outcome)
            assert (limits / "max_user_watches").read_text() == "524288\n"
        else:
            await it.board.until(lambda: it.board.told["dev_server"])
            (problem,) = it.board.told["dev_server"]
            assert "set fs.inotify.max_user_watches=524288" in problem.message
            assert "could not be set to 524288" in it.board.repair.outcome
            assert it.board.now.restarts == 0
