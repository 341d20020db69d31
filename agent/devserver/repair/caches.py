"""The caches that may be thrown away: the compiler's in the workspace, and the package managers' in DEV_USER's home.

Both places are the user code's to write in, while it is root that deletes. So the way to a cache is gone one folder
at a time and never through a link; a cache that is a link itself is unlinked, and where it leads to is left alone.
Without a user of its own for the app the home is a developer's, and not touched.

The compiler's cache is first renamed and then deleted: who starts in between finds none, never half of one. What a
deletion that was cut short left is deleted with the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.devserver.repair.history import Disk
from agent.errors import DiskError
from agent.isolation.user import DevUser
from agent.nofollow import remove

CACHE = (".next", "dev", "cache")
"""Below the app's folder, where the framework says nothing else."""
HOME_CACHES = ((".npm", "_cacache"), (".cache",), (".bun", "install", "cache"))
"""After an installation of the template npm's held 163 MiB beside 388 MiB of packages, pnpm's 66 and bun's 19. pnpm's
store is left out: its files are those in node_modules, by another name.
"""


def is_warm(workspace: Path, place: tuple[str, ...] = CACHE) -> bool:
    """Whether the compiler would find a cache to start from."""
    with suppress(OSError), _inside(workspace, place[:-1]) as parent:
        folder = os.open(place[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            with os.scandir(folder) as entries:
                return any(True for _ in entries)
        finally:
            os.close(folder)
    return False


def drop(workspace: Path, place: tuple[str, ...] = CACHE) -> None:
    """Remove the compiler's cache. Raises DiskError. There must be no dev server that uses it."""
    try:
        with _inside(workspace, place[:-1]) as parent:
            removed = f"{place[-1]}.removed"
            remove(removed, parent)
            with suppress(FileNotFoundError):
                os.rename(place[-1], removed, src_dir_fd=parent, dst_dir_fd=parent)
                remove(removed, parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        where = "/".join(place)
        raise DiskError(f"{workspace / where} could not be removed: {error.strerror}") from None


def drop_packages(user: DevUser) -> None:
    """Remove what the package managers keep beside what they installed. What is in node_modules stays, and what is
    wanted again is fetched again. Raises DiskError.
    """
    for *above, name in HOME_CACHES:
        with suppress(FileNotFoundError):
            try:
                with _inside(user.home, above, of=user.uid) as folder:
                    remove(name, folder)
            except FileNotFoundError:
                raise
            except OSError as error:
                where = "/".join((*above, name))
                raise DiskError(f"{user.home / where} could not be removed: {error.strerror}") from None


def fullest(workspace: Path) -> Disk | None:
    """The fuller one of the filesystems of the workspace and of its `.next`, which may have its own."""
    found = []
    for path in (workspace, workspace / CACHE[0]):
        with suppress(OSError):
            space = os.statvfs(path)
            spent = space.f_files and not space.f_favail  # one without files left is as full as one without bytes
            found.append(Disk(0 if spent else space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize))
    return min(found, key=lambda disk: disk.free, default=None)


@contextmanager
def _inside(top: Path, parts: Iterable[str], *, of: int | None = None) -> Iterator[int]:
    """A descriptor of the folder `parts` below `top`, whose own path is the owner's, and followed. `of`: the user whom
    `top` has to belong to; one that somebody exchanged is not gone into.
    """
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if of is not None and os.fstat(descriptor).st_uid != of:
            raise PermissionError(errno.EPERM, f"{top} is not user {of}'s own")
        for name in parts:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
