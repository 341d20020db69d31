"""Lists and reads the files of a folder that belong to the app.

Blocking calls, for any thread. Links are never followed. A file that disappears while it is read counts as absent. A
file that is read half written is read again at its next event, because its stamp has changed.

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

_IGNORED = frozenset(
    {".git", ".next", "node_modules", ".preview", ".preview-agent", "next-env.d.ts", ".DS_Store", "4913"}
)
_TEMPORARY = re.compile(
    r".*~ | \.\#.* | \#.*\# | \._.* | .*\.sw[a-z] | .*\.tmp(\..*)? | .*\.crswap | \.goutputstream-.* | .*___jb_...___",
    re.VERBOSE | re.DOTALL,
)

Stamp = tuple[int, int, int, int]
"""Size, mtime, ctime and inode. A file with an unchanged stamp was not written since."""


@dataclass(frozen=True, slots=True)
class PresentFile:
    path: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Excluded:
    """A path that the app's owner may expect in the app, and that is not stored."""

    path: str
    why: str
    keep: bool
    """It belongs to the app and cannot be read now, so what was stored of it before (or below it) stays."""


def is_never_app_file(path: str) -> bool:
    """True for paths that are never part of an app: folders of tools, temporary files of editors. Pure."""
    return any(part in _IGNORED or _TEMPORARY.fullmatch(part) for part in path.split("/"))


def walk(root: Path, start: str = "") -> Iterator[PresentFile | Excluded]:
    """Yield the files at `start` and below it. `start` is relative to `root`; "" stands for all of it."""
    if is_never_app_file(start) or not all(_is_folder(root / folder) for folder in folders_of(start)):
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
            yield Excluded(path, f"cannot be read: {error.strerror}", keep=True)
            continue
        if excluded := _exclusion(path, found):
            yield excluded
        elif stat.S_ISDIR(found.st_mode):
            pending += [inside for name in names if not is_never_app_file(inside := f"{path}/{name}" if path else name)]
        else:
            yield PresentFile(path, _stamp(found))


def read(root: Path, path: str) -> tuple[bytes, Stamp] | Excluded | None:
    """Return the bytes of a file with its stamp from before reading, or None if it is absent."""
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if excluded := _exclusion(path, before):
                return excluded
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Excluded(path, f"cannot be read: {error.strerror}", keep=True)
    return (data, _stamp(before)) if len(data) <= MAX_FILE_BYTES else _too_large(path, len(data))


def _exclusion(path: str, found: os.stat_result) -> Excluded | None:
    if path and (why := refusal(path)):
        return Excluded(path, why, keep=False)
    if stat.S_ISLNK(found.st_mode):
        return Excluded(path, "is a link, and links are not followed", keep=False)
    if stat.S_ISREG(found.st_mode):
        return _too_large(path, found.st_size) if found.st_size > MAX_FILE_BYTES else None
    return None if stat.S_ISDIR(found.st_mode) else Excluded(path, "is not a regular file", keep=False)


def _too_large(path: str, size: int) -> Excluded:
    return Excluded(path, f"has {size:,} bytes or more; at most {MAX_FILE_BYTES:,} are accepted", keep=True)


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
