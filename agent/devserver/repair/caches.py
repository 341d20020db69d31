"""Removes caches: the compiler's in the workspace, and the package managers' in DEV_USER's home.

The app's code can write in both places, and root deletes. So each path is opened one folder at a time and never through
a symbolic link; a cache that is itself a link is unlinked, and its target is left alone. Without a DEV_USER the home is
a developer's own, and is not touched.

The compiler's cache is renamed before it is deleted, so a server that starts meanwhile finds no cache, never half of
one. A deletion that was interrupted is finished by the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.devserver.repair.evidence import DiskSpace
from agent.errors import DiskError
from agent.isolation.user import DevUser
from agent.nofollow import folder_below, open_folder, remove

CACHE = (".next", "dev", "cache")
"""Below the app's folder, for frameworks that do not name another place."""
HOME_CACHES = ((".npm", "_cacache"), (".cache",), (".bun", "install", "cache"))
"""After the template was installed, npm's held 163 MiB beside 388 MiB of packages, pnpm's 66 and bun's 19. pnpm's store
is left out: its files are hard links of those in node_modules.
"""


def is_warm(workspace: Path, place: tuple[str, ...] = CACHE) -> bool:
    """Whether the compiler would start from a cache."""
    with suppress(OSError), _inside(workspace, place[:-1]) as parent:
        folder = open_folder(place[-1], parent)
        try:
            with os.scandir(folder) as entries:
                return any(True for _ in entries)
        finally:
            os.close(folder)
    return False


def remove_compiler_cache(workspace: Path, place: tuple[str, ...] = CACHE) -> None:
    """Raises DiskError. No dev server that uses the cache may run."""
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


def remove_package_caches(user: DevUser) -> None:
    """Remove the package managers' caches. node_modules stays, and packages are downloaded again when needed. Raises
    DiskError.
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


def fullest(workspace: Path) -> DiskSpace | None:
    """The fuller one of the filesystems of the workspace and of its `.next`, which may be a mount of its own."""
    found = []
    for path in (workspace, workspace / CACHE[0]):
        with suppress(OSError):
            space = os.statvfs(path)
            no_inodes = space.f_files and not space.f_favail  # as full as one without free bytes
            found.append(
                DiskSpace(0 if no_inodes else space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)
            )
    return min(found, key=lambda disk: disk.free, default=None)


@contextmanager
def _inside(top: Path, parts: Iterable[str], *, of: int | None = None) -> Iterator[int]:
    """A descriptor of the folder `parts` below `top`. Links in the path of `top` itself are followed: it is a setting.
    `of`: the uid that must own `top`, else PermissionError is raised, because it may have been replaced.
    """
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if of is not None and os.fstat(descriptor).st_uid != of:
            raise PermissionError(errno.EPERM, f"{top} is not user {of}'s own")
        with folder_below(descriptor, "/".join(parts)) as folder:
            yield folder
    finally:
        os.close(descriptor)
