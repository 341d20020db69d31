"""The caches that may be thrown away: the compiler's in the workspace, and other folders of ours.

The workspace is the user code's to write in, while it is root that deletes. So the way to the cache is gone one folder
at a time and never through a link; a cache that is a link itself is unlinked, and where it leads to is left alone.

A cache is first renamed and then deleted: who starts in between finds none, never half of one. What a deletion that
was cut short left is deleted with the next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.devserver.removal import remove
from agent.devserver.treatment import Disk
from agent.errors import DiskError

PARENTS = (".next", "dev")
CACHE = "cache"
REMOVED = "cache.removed"


def is_warm(workspace: Path) -> bool:
    """Whether the compiler would find a cache to start from."""
    with suppress(OSError), _parent(workspace) as parent:
        folder = os.open(CACHE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            with os.scandir(folder) as entries:
                return any(True for _ in entries)
        finally:
            os.close(folder)
    return False


def drop(workspace: Path) -> None:
    """Remove the compiler's cache. Raises DiskError. There must be no dev server that uses it."""
    try:
        with _parent(workspace) as parent:
            remove(REMOVED, parent)
            with suppress(FileNotFoundError):
                os.rename(CACHE, REMOVED, src_dir_fd=parent, dst_dir_fd=parent)
                remove(REMOVED, parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        where = "/".join((*PARENTS, CACHE))
        raise DiskError(f"{workspace / where} could not be removed: {error.strerror}") from None


def empty(folders: Iterable[Path]) -> None:
    """Remove what is in folders that user code cannot write to: their own users make them anew. Raises DiskError."""
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DiskError(f"{folder} could not be removed: {error.strerror}") from None


def fullest(workspace: Path) -> Disk | None:
    """The fuller one of the filesystems of the workspace and of its `.next`, which may have its own."""
    found = []
    for path in (workspace, workspace / PARENTS[0]):
        with suppress(OSError):
            space = os.statvfs(path)
            spent = space.f_files and not space.f_favail  # one without files left is as full as one without bytes
            found.append(Disk(0 if spent else space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize))
    return min(found, key=lambda disk: disk.free, default=None)


@contextmanager
def _parent(workspace: Path) -> Iterator[int]:
    """A descriptor of the folder that the cache is in. The workspace's own path is the owner's, and followed."""
    descriptor = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in PARENTS:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
