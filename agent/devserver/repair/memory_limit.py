"""How much memory there is and how much of it is taken, out of what the kernel says about it. Pure.

The limit may be a control group's, of version 1 or 2, of any group between ours and the top of what is mounted here,
or it is simply the machine's: a Fly machine is a virtual one without a group of its own. The smallest one binds.

Taken is what the kernel cannot take back by itself. A group's own count has the file cache in it, which grows up to
the limit in every container and says nothing; so that is subtracted. Tmpfs and shared memory are not file cache here,
although version 1 counts them as cache: they are on the lists of anonymous memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Version = Literal[1, 2]
Texts = Mapping[str, str]
"""A folder of a control group: the text of each of its files that can be read, by name."""

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
    """The group that accounts a process's memory: the hierarchy's version, and the path below that hierarchy's root."""

    version: Version
    path: str


@dataclass(frozen=True, slots=True)
class Level:
    """One place with a limit. Bytes. `name` is for people."""

    name: str
    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What binds the dev server. Bytes. `oom_kills`: how often the kernel has killed, as `counter` has it, a folder of
    a control group or empty for the whole machine; None: nobody counts.
    """

    limit: int
    used: int
    where: str
    oom_kills: int | None
    counter: str = ""

    @property
    def share(self) -> float:
        return self.used / self.limit


def membership(cgroup: str) -> Membership | None:
    """From /proc/PID/cgroup. On a hybrid system version 1 has the memory controller, or version 2 has; never both."""
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
    """Where the group's folder and those above it are, own first. From /proc/PID/mountinfo; empty: it is not mounted.

    A container often has only its own part of the hierarchy mounted, and then either that part's path in its own
    membership too (no cgroup namespace) or `/` (with one).
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
        if ".." in parts:  # a group outside of what this namespace may see
            parts = []
        return tuple("/".join([mount, *parts[:count]]) for count in range(len(parts), -1, -1))
    return ()


def levels(version: Version, group: Iterable[tuple[str, Texts]]) -> list[Level]:
    """The limits of a group and of those above it. One that has none, or whose files are not there, adds nothing."""
    found = []
    for name, texts in group:
        limit_file, used_file, stat_file, _ = FILES[version]
        stat = numbers(texts.get(stat_file, ""))
        limits = [texts.get(limit_file, "").strip()]
        # Version 1 also says the smallest limit of all groups above, those too that are not mounted here.
        limits += [str(stat["hierarchical_memory_limit"])] if "hierarchical_memory_limit" in stat else []
        used = texts.get(used_file, "").strip()
        amounts = [int(limit) for limit in limits if limit.isdecimal()]  # "max" is no limit
        if amounts and used.isdecimal():
            reclaimable = sum(stat.get(part, 0) for part in _RECLAIMABLE[version])
            found.append(Level(f"the control group {name}", min(amounts), max(0, int(used) - reclaimable)))
    return found


def machine(meminfo: str, vm_megabytes: str | None) -> Level | None:
    """The machine as a whole, from /proc/meminfo and FLY_VM_MEMORY_MB. The kernel's own share is missing in MemTotal,
    so that is the smaller of the two on a real Fly machine.
    """
    said = {name: amount * 1024 for name, amount in numbers(meminfo.replace(":", " ")).items()}
    if "MemTotal" not in said or "MemAvailable" not in said:
        return None
    total = said["MemTotal"]
    size = int(vm_megabytes) * MIB if vm_megabytes and vm_megabytes.isdecimal() and int(vm_megabytes) else total
    return Level("the machine", min(total, size), total - said["MemAvailable"])


def oom_kills(version: Version | None, own: Texts, vmstat: str) -> int | None:
    """How often the kernel killed a process for want of memory: in the own group where that is counted, else in the
    whole machine. A kill counts in the victim's group also when it was the machine that had run out.
    """
    if version is not None:
        kills = numbers(own.get(_OOM_FILE[version], "")).get("oom_kill")
        if kills is not None:
            return kills
    return numbers(vmstat).get("oom_kill")


def binding(found: Iterable[Level], kills: int | None, counter: str = "") -> Memory | None:
    """The smallest limit. Version 1 says "unlimited" as a number just below 2^63, which is never the smallest."""
    smallest = min(found, key=lambda level: level.limit, default=None)
    if smallest is None or smallest.limit <= 0:
        return None
    return Memory(smallest.limit, smallest.used, smallest.name, kills, counter)


def is_alive(stat: str) -> bool:
    """From /proc/PID/stat: the state comes after the name, which stands in parentheses and may have some itself."""
    return stat.rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


def numbers(text: str) -> dict[str, int]:
    """Lines of a name and a number, as in memory.stat; a unit after the number is not looked at."""
    return {name: int(amount) for name, amount in re.findall(r"^(\S+)[ \t]+(\d+)\b", text, re.MULTILINE)}


def _unescaped(field: str) -> str:
    """A path in mountinfo has its spaces and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
