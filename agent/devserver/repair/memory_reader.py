"""Reads what `memory` makes sense of: a few small files of the kernel, in well under a millisecond.

A process may be moved to another control group after its start, so `read` looks up the way there each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agent.devserver.repair import memory_limit
from agent.devserver.repair.memory_limit import Memory, Version


class Meter:
    """`root` and `vm_megabytes` (FLY_VM_MEMORY_MB) are arguments for the sake of the tests' recorded machines."""

    def __init__(self, *, vm_megabytes: str | None, root: Path = Path("/")) -> None:
        self._vm_megabytes = vm_megabytes
        self._root = root
        self._version: Version | None = None
        self._places: tuple[str, ...] = ()

    def read(self, pid: int | None = None) -> Memory | None:
        """What binds the process `pid`, or this one; None where the kernel does not say."""
        process = f"proc/{'self' if pid is None else pid}"
        member = memory_limit.membership(self._text(f"{process}/cgroup"))
        places = () if member is None else memory_limit.folders(self._text(f"{process}/mountinfo"), member)
        # One that has just died is said to be in the topmost group.
        if memory_limit.is_alive(self._text(f"{process}/stat")):
            self._version = None if member is None else member.version
            self._places = places
        return self.again()

    def again(self) -> Memory | None:
        """The same place once more: a process that is gone is in no group, but the group has counted how it went."""
        levels, own = [], {}
        if self._version is not None:
            names = memory_limit.FILES[self._version]
            group = [(place, {name: self._text(f"{place}/{name}") for name in names}) for place in self._places]
            levels, own = memory_limit.levels(self._version, group), group[0][1] if group else {}
        machine = memory_limit.machine(self._text("proc/meminfo"), self._vm_megabytes)
        kills = memory_limit.oom_kills(self._version, own, self._text("proc/vmstat"))
        return memory_limit.binding([*levels, *([machine] if machine else [])], kills, self._places[0] if own else "")

    def _text(self, path: str) -> str:
        with suppress(OSError):
            descriptor = os.open(self._root / path.lstrip("/"), os.O_RDONLY | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                return file.read().decode("utf-8", "replace")
        return ""
