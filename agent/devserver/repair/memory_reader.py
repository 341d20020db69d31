"""Reads the kernel's files that `memory_limit` interprets: a few small ones, in well under a millisecond.

A process can be moved to another control group after its start, so `read` finds its group anew each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agent.devserver.repair import memory_limit
from agent.devserver.repair.memory_limit import Memory, Version


class MemoryReader:
    """Remembers the control group of the last process, so that it can be read after the process is gone."""

    def __init__(self, *, vm_megabytes: str | None, root: Path = Path("/")) -> None:
        """`vm_megabytes`: FLY_VM_MEMORY_MB. `root`: another folder in tests, with the files of a recorded machine."""
        self._vm_megabytes = vm_megabytes
        self._root = root
        self._version: Version | None = None
        self._folders: tuple[str, ...] = ()

    def read(self, pid: int | None = None) -> Memory | None:
        """The memory of the process `pid`, or of this one; None if the kernel's files are missing."""
        process = f"proc/{'self' if pid is None else pid}"
        member = memory_limit.membership(self._text(f"{process}/cgroup"))
        folders = () if member is None else memory_limit.folders(self._text(f"{process}/mountinfo"), member)
        # A process that has just exited is listed in the topmost group.
        if memory_limit.is_alive(self._text(f"{process}/stat")):
            self._version = None if member is None else member.version
            self._folders = folders
        return self.read_again()

    def read_again(self) -> Memory | None:
        """Read the same group again. A process that is gone is in no group, but its group has counted the kill."""
        levels, own = [], {}
        if self._version is not None:
            names = memory_limit.FILES[self._version]
            groups = [{name: self._text(f"{folder}/{name}") for name in names} for folder in self._folders]
            levels, own = memory_limit.levels(self._version, groups), groups[0] if groups else {}
        machine = memory_limit.machine(self._text("proc/meminfo"), self._vm_megabytes)
        kills = memory_limit.oom_kills(self._version, own, self._text("proc/vmstat"))
        counter = self._folders[0] if own else ""
        return memory_limit.smallest_limit([*levels, *([machine] if machine else [])], kills, counter)

    def _text(self, path: str) -> str:
        with suppress(OSError):
            descriptor = os.open(self._root / path.lstrip("/"), os.O_RDONLY | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                return file.read().decode("utf-8", "replace")
        return ""
