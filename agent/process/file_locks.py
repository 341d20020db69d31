"""The file locks that the kernel lists in /proc/locks, with the processes that hold them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LOCK = re.compile(
    r"^\d+: +(?P<kind>FLOCK|POSIX|OFDLCK) +\S+ +(?P<mode>READ|WRITE) +(?P<pid>\d+) +(?P<device>\S+):(?P<inode>\d+) ",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class FileLock:
    kind: str
    """FLOCK, POSIX or OFDLCK."""
    mode: str
    """READ or WRITE."""
    pid: int
    """0 or less: the holder is in another pid namespace."""
    device: str
    """The filesystem's major and minor number, as in fe:00."""
    inode: int


def file_locks() -> list[FileLock]:
    """Raises OSError where /proc is not mounted."""
    return [
        FileLock(found["kind"], found["mode"], int(found["pid"]), found["device"], int(found["inode"]))
        for found in _LOCK.finditer(Path("/proc/locks").read_text("ascii"))
    ]
