"""Opens, reads and deletes files that the app's code may have made, without ever following a symbolic link.

Each folder is opened with O_NOFOLLOW relative to its parent's descriptor; the kernel never resolves a whole path, in
which the app's code could replace a folder by a link at any time.

`remove` works at any depth with two folders open at a time: recursion would end at Python's limit of about a thousand
levels, and one descriptor per level at the limit of open files. So it moves each nested folder up beside its parent.

What must not live here: the decision what is read or deleted.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AT_ONCE: Final = 10_000
"""Names held in memory at a time: one folder may have millions."""
_MOST: Final = 5_000_000
"""`remove` gives up after this many names: the app's code may go on creating new ones for ever."""


def open_folder(name: str | Path, at: int | None = None) -> int:
    """A descriptor of the folder `name` in the folder `at`. Raises OSError, also for a link."""
    return os.open(name, _FOLDER, dir_fd=at)


def open_file(name: str | Path, at: int | None = None) -> int:
    """A descriptor for reading `name` in the folder `at`. Raises OSError, also for a link. The caller checks the type:
    opening a pipe does not block, but reading from it may.
    """
    return os.open(name, _FILE, dir_fd=at)


@contextmanager
def folder_below(top: int | Path, path: str) -> Iterator[int]:
    """A descriptor of the folder `path` below `top`; `top` itself if `path` is empty. Raises OSError, also for a link
    in any part of `path`.
    """
    folder = os.dup(top) if isinstance(top, int) else open_folder(top)
    try:
        for part in path.split("/") if path else []:
            if part in {"", ".", ".."}:
                raise OSError(errno.EINVAL, "not a plain path", path)
            outer, folder = folder, open_folder(part, folder)
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def read_regular(name: str | Path, at: int | None, most: int) -> bytes | None:
    """The content of the regular file `name` in the folder `at`; None if it is something else or has more than `most`
    bytes. Raises OSError.
    """
    with os.fdopen(open_file(name, at), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > most:
            return None
        return file.read(most)


def move_or_remove(source: Path, target: Path) -> None:
    """Rename a folder, or delete it if it cannot be renamed. Raises OSError, or RecursionError for extreme depth.

    Overlay filesystems refuse to rename a folder of the image's lower layers (EXDEV; kernel, overlayfs.rst, "renaming
    directories"), so in a container such a folder can only be deleted. `remove` needs renames, so it cannot do that.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(source)


def remove(name: str, at: int, *, between: Callable[[], None] = lambda: None) -> None:
    """Delete `name` in the folder `at`, with everything in it. It need not exist. Raises OSError.

    `between` is called repeatedly. If it raises, the deletion ends, and the next call continues it.
    """
    if _removed(name, at):
        return
    top = open_folder(name, at)
    try:
        numbers, left = count(), _MOST
        while names := _names(top):
            left -= len(names)
            if left < 0:
                raise OSError(errno.EBUSY, "it is filled faster than it is emptied")
            for folder in names:
                between()
                if not _removed(folder, top):
                    _flatten(folder, top, numbers)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=at)


def _flatten(name: str, top: int, numbers: Iterator[int]) -> None:
    """Move the folders in this one up to `top`, and delete everything else in it."""
    folder = open_folder(name, top)
    try:
        for inner in _names(folder):
            if not _removed(inner, folder):
                _move_up(inner, folder, top, numbers)
    finally:
        os.close(folder)
    _removed(name, top)  # if it is not empty yet, its turn comes again


def _move_up(name: str, folder: int, top: int, numbers: Iterator[int]) -> None:
    """Rename a folder to a free number in `top`."""
    for number in numbers:
        try:
            os.rename(name, f"{number}", src_dir_fd=folder, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:  # the name is taken
                raise
        else:
            return


def _removed(name: str, at: int) -> bool:
    """Delete a file or an empty folder. Returns False if it is a folder that is not empty."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):  # EISDIR on Linux, EPERM in POSIX: it is a folder
        try:
            os.rmdir(name, dir_fd=at)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
    return True


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _AT_ONCE)]
