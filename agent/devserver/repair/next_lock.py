"""Who holds the lock of `.next/dev`, as the kernel tells it: the file's own words are user code's to write.

A holder is ours to end only where all of this is true: it carries the mark of an agent's run, it works in this very
workspace, and the leader that started it is gone or has been left to the system's first process. So neither a stranger
nor the server of an agent that lives is ever taken for a leftover.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import psutil

from agent.devserver.repair.history import Holder
from agent.isolation.child_environment import RUN_MARK
from agent.process import find as census

LOCK = ".next/dev/lock"
GONE_SECONDS = 2.0
_HELD = re.compile(r"^\d+: +(?:FLOCK|POSIX|OFDLCK) +\S+ +WRITE +(?P<pid>\d+) +(?P<place>\S+) ", re.MULTILINE)


def holder(workspace: Path) -> Holder | None:
    """None where nobody holds it, or somebody in another container does."""
    process = _process(workspace)
    if process is None:
        return None
    with suppress(psutil.Error, OSError):
        return Holder(process.pid, process.name(), ours=_left_behind(process, workspace) is not None)
    return None


def end_holder(workspace: Path) -> None:
    """End a leftover of ours and its whole run; whoever else holds the lock is left alone."""
    process = _process(workspace)
    run = None
    with suppress(psutil.Error, OSError):
        run = _left_behind(process, workspace) if process is not None else None
    members = census.marked(run) if run is not None else []
    for member in members:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(members, timeout=GONE_SECONDS)


def _process(workspace: Path) -> psutil.Process | None:
    with suppress(OSError, psutil.Error):
        lock = (workspace / LOCK).lstat()
        place = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        for held in _HELD.finditer(Path("/proc/locks").read_text("ascii")):
            if held["place"] == place and int(held["pid"]) > 0:
                return psutil.Process(int(held["pid"]))
    return None


def _left_behind(process: psutil.Process, workspace: Path) -> str | None:
    """The mark of the run that this is a leftover of."""
    run = process.environ().get(RUN_MARK)
    if run is None or not workspace.samefile(process.cwd()):
        return None
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(os.getsid(process.pid))
        if census.is_living(leader) and leader.ppid() not in {0, 1}:
            return None
    return run
