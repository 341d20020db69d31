"""Deletes what user code made, whole, however deep its folders lie in each other, and never through a link.

What goes down one call for each level ends after a thousand levels, and what holds a folder open for each ends at the
limit of open files; but a level costs its maker nothing. So the folders that lie in another one are moved up beside
it, and two are open at a time. Everything is done relative to those two: a path is never handed to the kernel whole.

What must not live here: what is to be deleted.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Final

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE: Final = 10_000
"""Names that are held in memory: one folder may have millions."""
_MOST: Final = 5_000_000
"""Names that are looked at: who goes on making new ones is not raced for ever."""


def move_or_remove(source: Path, target: Path) -> None:
    """Move a folder, or delete it where it cannot be moved. Raises OSError, or RecursionError for endless depth.

    Overlay filesystems refuse to rename a folder of the image's own layers (EXDEV; kernel, overlayfs.rst, "renaming
    directories"), so that a container can only delete what its image brought along. `remove` renames folders too.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(source)


def remove(name: str, at: int, *, between: Callable[[], None] = lambda: None) -> None:
    """Delete `name` in the folder that the descriptor `at` is of. One that is not there is no error. Raises OSError.

    `between` is called again and again, and what it raises ends it: the rest goes with the next call.
    """
    if _gone(name, at):
        return
    top = os.open(name, _FOLDER, dir_fd=at)
    try:
        free, left = count(), _MOST
        while names := _names(top):
            left -= len(names)
            if left < 0:
                raise OSError(errno.EBUSY, "it is filled faster than it is emptied")
            for folder in names:
                between()
                if not _gone(folder, top):
                    _lay_open(folder, top, free)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=at)


def _lay_open(name: str, top: int, free: Iterator[int]) -> None:
    """Move the folders in this one up to `top`, and delete the rest of it."""
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        for inner in _names(folder):
            if not _gone(inner, folder):
                _move_up(inner, folder, top, free)
    finally:
        os.close(folder)
    _gone(name, top)  # what is left comes again


def _move_up(name: str, folder: int, top: int, free: Iterator[int]) -> None:
    for number in free:
        try:
            os.rename(name, f"{number}", src_dir_fd=folder, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:  # there is one of this name
                raise
        else:
            return


def _gone(name: str, at: int) -> bool:
    """Whether it is deleted now; False: it is a folder that holds something."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):  # the system's two ways to say that it is a folder
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
