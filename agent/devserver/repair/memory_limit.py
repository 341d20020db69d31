"""The memory limit and the memory in use, computed from the texts of the kernel's files. Pure.

The limit is the smallest of those of the process's control group (version 1 or 2), of every group above it that is
mounted here, and of the machine. A Fly machine is a virtual machine without a group of its own.

Memory in use is what the kernel cannot reclaim by itself. A group's own count includes the file cache, which grows up
to the limit in every container, so that is subtracted. Tmpfs and shared memory are not subtracted, although version 1
counts them as cache: they are on the lists of anonymous memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Version = Literal[1, 2]
Texts = Mapping[str, str]
"""The readable files of a control group's folder: name → text."""

MIB: Final = 2**20
FILES: Mapping[Version, tuple[str, ...]] = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "memory.oom_control"),
    2: ("memory.max", "memory.current", "memory.stat", "memory.events"),
}
_RECLAIMABLE: Mapping[Version, tuple[str, ...]] = {
    1: ("total_inactive_file", "total_active_file"),
    2: ("inactive_file", "active_file", "slab_reclaimable"),
}
_OOM_FILE: Mapping[Version, str] = {1: "memory.oom_control", 2: "memory.events"}


@dataclass(frozen=True, slots=True)
class Membership:
    """The control group that accounts a process's memory."""

    version: Version
    path: str
    """Below the root of the hierarchy."""


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """The limit and the use of one control group, or of the machine. Bytes."""

    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The smallest limit that applies to the dev server. Bytes."""

    limit: int
    used: int
    oom_kills: int | None
    """How many processes the kernel has killed for memory; None if it does not count them."""
    counter: str = ""
    """The folder of the control group that `oom_kills` is counted in; empty: the whole machine."""

    @property
    def share(self) -> float:
        return self.used / self.limit


def membership(cgroup: str) -> Membership | None:
    """Parse /proc/PID/cgroup. On a hybrid system only one version has the memory controller."""
    version2 = None
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return Membership(1, path)
        if number == "0" and not controllers:
            version2 = Membership(2, path)
    return version2


def folders(mountinfo: str, member: Membership) -> tuple[str, ...]:
    """The folders of the group and of those above it, the own one first, from /proc/PID/mountinfo. Empty if the
    hierarchy is not mounted.

    A container often has only its own part of the hierarchy mounted. Its membership is then that part's full path
    (without a cgroup namespace) or `/` (with one).
    """
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(), [*after.split(), "", "", ""]
        is_it = kind == "cgroup2" if member.version == 2 else kind == "cgroup" and "memory" in options.split(",")
        if not is_it or len(fields) < 5:
            continue
        root, mount = _unescaped(fields[3]).rstrip("/"), _unescaped(fields[4]).rstrip("/")
        below = member.path.removeprefix(root) if f"{member.path}/".startswith(f"{root}/") else ""
        parts = [part for part in below.split("/") if part]
        if ".." in parts:  # the group is outside of this namespace
            parts = []
        return tuple("/".join([mount, *parts[:count]]) for count in range(len(parts), -1, -1))
    return ()


def levels(version: Version, groups: Iterable[Texts]) -> list[MemoryLevel]:
    """The limits of a group and of those above it. A group without a limit or without files is left out."""
    found = []
    for texts in groups:
        limit_file, used_file, stat_file, _ = FILES[version]
        stat = numbers(texts.get(stat_file, ""))
        limits = [texts.get(limit_file, "").strip()]
        # Version 1 also gives the smallest limit of all groups above, including those that are not mounted here.
        limits += [str(stat["hierarchical_memory_limit"])] if "hierarchical_memory_limit" in stat else []
        used = texts.get(used_file, "").strip()
        amounts = [int(limit) for limit in limits if limit.isdecimal()]  # "max" means no limit
        if amounts and used.isdecimal():
            reclaimable = sum(stat.get(part, 0) for part in _RECLAIMABLE[version])
            found.append(MemoryLevel(min(amounts), max(0, int(used) - reclaimable)))
    return found


def machine(meminfo: str, vm_megabytes: str | None) -> MemoryLevel | None:
    """The machine as a whole, from /proc/meminfo and FLY_VM_MEMORY_MB. MemTotal leaves out the kernel's own memory, so
    it is the smaller one on a real Fly machine.
    """
    parsed = {name: amount * 1024 for name, amount in numbers(meminfo.replace(":", " ")).items()}
    if "MemTotal" not in parsed or "MemAvailable" not in parsed:
        return None
    total = parsed["MemTotal"]
    size = int(vm_megabytes) * MIB if vm_megabytes and vm_megabytes.isdecimal() and int(vm_megabytes) else total
    return MemoryLevel(min(total, size), total - parsed["MemAvailable"])


def oom_kills(version: Version | None, own: Texts, vmstat: str) -> int | None:
    """How many processes the kernel killed for memory: in the own group if that is counted, else in the whole machine.
    A kill counts in the victim's group even if it was the machine that had run out.
    """
    if version is not None:
        kills = numbers(own.get(_OOM_FILE[version], "")).get("oom_kill")
        if kills is not None:
            return kills
    return numbers(vmstat).get("oom_kill")


def smallest_limit(found: Iterable[MemoryLevel], kills: int | None, counter: str = "") -> Memory | None:
    """The level with the smallest limit. Version 1 writes "unlimited" as a number just below 2^63."""
    smallest = min(found, key=lambda level: level.limit, default=None)
    if smallest is None or smallest.limit <= 0:
        return None
    return Memory(smallest.limit, smallest.used, kills, counter)


def is_alive(stat: str) -> bool:
    """Parse /proc/PID/stat: the state follows the name, which is in parentheses and may contain some."""
    return stat.rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


def numbers(text: str) -> dict[str, int]:
    """Parse lines of a name and a number, as in memory.stat. A unit after the number is ignored."""
    return {name: int(amount) for name, amount in re.findall(r"^(\S+)[ \t]+(\d+)\b", text, re.MULTILINE)}


def _unescaped(field: str) -> str:
    """A path of mountinfo, in which spaces and backslashes are octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
