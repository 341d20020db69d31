"""A real control group with a memory limit, for as long as a test needs it; skipped where none may be made."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.devserver.repair import memory_limit

EMPTY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ControlGroup:
    folder: Path

    def command(self, *command: str) -> tuple[str, ...]:
        """`command`, as a process that is in this group from its start on, in a session with its own pid."""
        return ("/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command)

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]


@contextmanager
def control_group(limit: int) -> Iterator[ControlGroup]:
    """A group below this process's own, with `limit` bytes of memory."""
    member = memory_limit.membership(Path("/proc/self/cgroup").read_text())
    places = () if member is None else memory_limit.folders(Path("/proc/self/mountinfo").read_text(), member)
    if member is None or not places:
        pytest.skip("the kernel has no memory controller mounted here")
    folder = Path(places[0]) / f"preview-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / memory_limit.FILES[member.version][0]).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group with a memory limit may be made at {folder}: {error}")
    group = ControlGroup(folder)
    try:
        yield group
    finally:
        _remove(group)


def _remove(group: ControlGroup) -> None:
    until = time.monotonic() + EMPTY_SECONDS
    while True:
        for pid in group.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            group.folder.rmdir()
        except OSError:  # its last process is not cleared away yet
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
