"""Reads files of the app's workspace without following a link, because the app's code owns that folder.

Everything here blocks, so call it in a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.package_files import MANIFEST
from agent.packages.wanted import Files

MODULES: Final = "node_modules"

OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_BYTES: Final = 16 * 1024 * 1024
_READ_ALL_BYTES: Final = 32 * 1024 * 1024


class WorkspaceReader:
    def __init__(self, workspace: Path, *, owner: tuple[int, int] | None) -> None:
        """`owner`: user and group of the app's code, if not the agent's own."""
        self._workspace = workspace
        self._owner = owner

    def read(self, path: str, most: int = _READ_BYTES) -> bytes | None:
        """The content of a file in the workspace. None if it is not a regular file, is larger than `most`, is reached
        through a link, or is a hard link to a file that the app may not read.
        """
        above, _, name = path.rpartition("/")
        try:
            with _opened(self._workspace, above) as folder:
                return self._read_file(os.open(path_component(name), _OPEN_FILE, dir_fd=folder), most)
        except (OSError, ValueError):
            return None

    def read_all(self, paths: Iterable[str]) -> Files:
        """The files among `paths` that exist and fit the limit, those of the root first. The limit is there because
        sparse files cost the app nothing but would fill the agent's memory.
        """
        found: dict[str, bytes] = {}
        left = _READ_ALL_BYTES
        for path in sorted(paths, key=lambda path: (path.count("/"), path != MANIFEST, path)):
            data = self.read(path, min(left, _READ_BYTES))
            if data is not None:
                found[path] = data
                left -= len(data)
        return found

    def names(self, folder: str = MODULES) -> list[str]:
        """The entries of a folder in the workspace, sorted; empty if it is not a folder."""
        try:
            with _opened(self._workspace, folder) as opened:
                return sorted(os.listdir(opened))  # noqa: PTH208 - a descriptor is no path
        except (OSError, ValueError):
            return []

    def link(self, path: str) -> str | None:
        """The target of a symbolic link in the workspace; None if it is not one."""
        above, _, name = path.rpartition("/")
        try:
            with _opened(self._workspace, above) as folder:
                return os.readlink(path_component(name), dir_fd=folder)
        except (OSError, ValueError):
            return None

    def _read_file(self, file: int, most: int) -> bytes | None:
        with os.fdopen(file, "rb") as opened:
            there = os.fstat(file)
            if not stat.S_ISREG(there.st_mode) or there.st_size > most:
                return None
            # A hard link may name a file that only root can read (where fs.protected_hardlinks is off), and what
            # `NodeModules.restore_files` writes belongs to the app. Files that everybody may read are fine: scripts/dev
            # links its packages.
            if self._owner and there.st_nlink > 1 and there.st_uid != self._owner[0] and not there.st_mode & 0o004:
                return None
            return opened.read(most)


@contextmanager
def _opened(workspace: Path, path: str) -> Iterator[int]:
    """A descriptor of a folder in the workspace, opened without following links."""
    folder = os.open(workspace, OPEN_FOLDER)
    try:
        for part in path.split("/") if path else []:
            folder, outer = os.open(path_component(part), OPEN_FOLDER, dir_fd=folder), folder
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def path_component(part: str) -> str:
    """`part` itself. Raises ValueError if it is no name of an entry in a folder."""
    if part in {"", ".", ".."}:
        raise ValueError(part)
    return part
