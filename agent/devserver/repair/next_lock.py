"""Finds the process that holds the lock of `.next/dev`, from the kernel: the app's code can write the file's content.

The agent ends a holder only if all of this is true: it carries the mark of an agent's run, its working directory is
this workspace, and the leader that started it is gone or was re-parented to init. So neither a foreign process nor the
dev server of a running agent is ended.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from agent.devserver.repair.evidence import LockHolder
from agent.isolation.child_environment import RUN_MARK
from agent.process import find
from agent.process.file_locks import file_locks

LOCK = ".next/dev/lock"
GONE_SECONDS = 2.0


def lock_holder(workspace: Path) -> LockHolder | None:
    """None if no process holds the lock, or if one in another container does."""
    process = _process(workspace)
    if process is None:
        return None
    with suppress(psutil.Error, OSError):
        return LockHolder(process.pid, process.name(), ours=_left_behind(process, workspace) is not None)
    return None


def end_holder(workspace: Path) -> None:
    """End the holder and its whole run if an earlier run left it behind. Another holder is left alone."""
    process = _process(workspace)
    run = None
    with suppress(psutil.Error, OSError):
        run = _left_behind(process, workspace) if process is not None else None
    members = find.with_run_mark(run) if run is not None else []
    for member in members:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(members, timeout=GONE_SECONDS)


def _process(workspace: Path) -> psutil.Process | None:
    with suppress(OSError, psutil.Error):
        status = (workspace / LOCK).lstat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        for lock in file_locks():
            if lock.mode == "WRITE" and (lock.device, lock.inode) == (device, status.st_ino) and lock.pid > 0:
                return psutil.Process(lock.pid)
    return None


def _left_behind(process: psutil.Process, workspace: Path) -> str | None:
    """The mark of the earlier run that left this process behind; None if it was not left behind."""
    run = process.environ().get(RUN_MARK)
    if run is None or not workspace.samefile(process.cwd()):
        return None
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(os.getsid(process.pid))
        if find.is_alive(leader) and leader.ppid() not in {0, 1}:
            return None
    return run
