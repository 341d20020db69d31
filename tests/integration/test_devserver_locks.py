"""Who holds the lock of `.next/dev`: asked of the kernel, and never taken for ours without proof."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agent.devserver.repair import next_lock
from agent.devserver.repair.evidence import LockHolder
from agent.isolation.child_environment import RUN_MARK

HOLD = """
import fcntl, os, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(os.getpid(), flush=True)
time.sleep(60)
"""
Start = Callable[..., psutil.Process]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / ".next/dev").mkdir(parents=True)
    (folder / ".next/dev/lock").write_text('{"pid": 1, "port": 3001}')  # user code's to write, and not believed
    return folder


@pytest.fixture
def start(workspace: Path) -> Iterator[Start]:
    """A factory of processes that hold the lock below a leader, which lives on or is killed."""
    leaders: list[subprocess.Popen[bytes]] = []
    made: list[psutil.Process] = []

    def make(*, mark: str | None = "r1", folder: Path = workspace, orphan: bool = True) -> psutil.Process:
        leader = subprocess.Popen(
            ("/bin/sh", "-c", '"$0" -S -E -c "$@" & wait', sys.executable, HOLD, workspace / next_lock.LOCK),
            cwd=folder,
            env={"PATH": os.environ["PATH"]} | ({RUN_MARK: mark} if mark else {}),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        leaders.append(leader)
        assert leader.stdout is not None
        made.append(psutil.Process(int(leader.stdout.readline())))
        if orphan:
            leader.kill()
            leader.wait()
        return made[-1]

    yield make
    for process in made:
        if process.is_running():
            process.kill()
    for leader in leaders:
        leader.kill()
        leader.communicate(timeout=10)


def test_a_lock_that_nobody_holds_has_no_holder(workspace: Path) -> None:
    assert next_lock.lock_holder(workspace) is None
    assert next_lock.lock_holder(workspace / "missing") is None
    next_lock.end_holder(workspace)


def test_this_process_would_be_found(workspace: Path) -> None:
    with (workspace / next_lock.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert next_lock.lock_holder(workspace) == LockHolder(os.getpid(), psutil.Process().name(), ours=False)


def test_a_leftover_of_an_agents_run_is_ended_with_the_whole_run(workspace: Path, start: Start) -> None:
    process = start()

    assert next_lock.lock_holder(workspace) == LockHolder(process.pid, process.name(), ours=True)
    next_lock.end_holder(workspace)
    assert not process.is_running()
    assert next_lock.lock_holder(workspace) is None


@pytest.mark.parametrize("how", [{"mark": None}, {"folder": Path("/")}, {"orphan": False}])
def test_one_without_a_mark_or_at_work_elsewhere_or_looked_after_is_left_alone(
    workspace: Path, start: Start, how: dict[str, object]
) -> None:
    process = start(**how)

    assert next_lock.lock_holder(workspace) == LockHolder(process.pid, process.name(), ours=False)
    next_lock.end_holder(workspace)
    assert process.is_running()
