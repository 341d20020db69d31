"""A folder on the disk as a set of files: what is in it, and what of that is the app's.

Plain calls, in whatever thread they are made. Links are never followed. A file that vanishes while it is read was never
there; one that is read half written is read again when its next event comes, because its stamp differs by then.

What must not live here: events (watch.py), the store.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.paths import MAX_FILE_BYTES, folders_of, refusal

_LEFT_OUT = frozenset(
    {".git", ".next", "node_modules", ".preview", ".preview-agent", "next-env.d.ts", ".DS_Store", "4913"}
)
_TEMPORARY = re.compile(
    r".*~ | \.\#.* | \#.*\# | \._.* | .*\.sw[a-z] | .*\.tmp(\..*)? | .*\.crswap | \.goutputstream-.* | .*___jb_...___",
    re.VERBOSE | re.DOTALL,
)

Stamp = tuple[int, int, int, int]
"""Size, time of content, time of inode, inode: a file whose stamp is the same was not written since."""


@dataclass(frozen=True, slots=True)
class Present:
    path: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that its owner may expect in the app, and why it is not. `keep`: it is the app's, and cannot be read as
    it is now, so what was stored of it before (of all below it, where it is a folder) is better than nothing.
    """

    path: str
    why: str
    keep: bool


def is_left_out(path: str) -> bool:
    """Whether a path is not the app's and nobody expects it to be: tools' folders, editors' temporary files. Pure."""
    return any(part in _LEFT_OUT or _TEMPORARY.fullmatch(part) for part in path.split("/"))


def walk(root: Path, start: str = "") -> Iterator[Present | LeftOut]:
    """What is at `start` (relative to `root`; "" is all of it) and below."""
    if is_left_out(start) or not all(_is_folder(root / folder) for folder in folders_of(start)):
        return
    pending = [start]
    while pending:
        path = pending.pop()
        try:
            found = os.lstat(root / path)
            names = sorted(_names(root / path), reverse=True) if stat.S_ISDIR(found.st_mode) else []
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield LeftOut(path, f"cannot be read: {error.strerror}", keep=True)
            continue
        if left_out := _unfit(path, found):
            yield left_out
        elif stat.S_ISDIR(found.st_mode):
            pending += [inside for name in names if not is_left_out(inside := f"{path}/{name}" if path else name)]
        else:
            yield Present(path, _stamp(found))


def read(root: Path, path: str) -> tuple[bytes, Stamp] | LeftOut | None:
    """A file's bytes with the stamp that they had when reading began; None when it is gone."""
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if left_out := _unfit(path, before):
                return left_out
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return LeftOut(path, f"cannot be read: {error.strerror}", keep=True)
    return (data, _stamp(before)) if len(data) <= MAX_FILE_BYTES else _too_large(path, len(data))


def _unfit(path: str, found: os.stat_result) -> LeftOut | None:
    if path and (why := refusal(path)):
        return LeftOut(path, why, keep=False)
    if stat.S_ISLNK(found.st_mode):
        return LeftOut(path, "is a link, and links are not followed", keep=False)
    if stat.S_ISREG(found.st_mode):
        return _too_large(path, found.st_size) if found.st_size > MAX_FILE_BYTES else None
    return None if stat.S_ISDIR(found.st_mode) else LeftOut(path, "is no regular file", keep=False)


def _too_large(path: str, size: int) -> LeftOut:
    return LeftOut(path, f"has {size:,} bytes or more; at most {MAX_FILE_BYTES:,} are taken", keep=True)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return [entry.name for entry in found]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
