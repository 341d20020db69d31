"""The workspace: reads it and changes it, one path at a time, never through a link.

User code runs in here and may do anything at any moment: plant links, swap folders, leave pipes where files were. So
every folder is opened relative to the one above it without following links, and everything is done relative to that
descriptor; a path is never handed to the kernel whole. A file is replaced by one rename, so it is whole at any moment
and never missing; a style sheet is overwritten in place (in_place.py). Bytes that are not the agent's own are kept
aside before they are replaced.

What must not live here: which paths, and in which order (plan.py), and what became true of it (manifest.py).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from agent.paths import MAX_FILE_BYTES, MAX_PATH_BYTES, NEXT_WRITES, RESERVED
from agent.sync.disk import in_place
from agent.sync.disk.journal import Record
from agent.sync.disk.staging import Owner

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_FOLDERS = 64
_LOOKED_AT_MOST = 200_000
"""Names that `find` looks at: ten times what an app may have; user code may have made millions."""


class Obstacle(Exception):
    """This one path could not be done; the rest goes on. `passing`: the same may go through later by itself."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


class Done(NamedTuple):
    """A file that was put: what is there now, whether it had to be written, and what its owner should know."""

    record: Record
    touched: bool
    note: str | None = None


class Tree:
    """A hold on the workspace for one burst or one look. Not for two threads at once."""

    def __init__(self, root: Path, owner: Owner | None = None) -> None:
        """`owner`: whose new folders are to be, where that is not the agent's own user."""
        self._owner = owner
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._root = os.open(root, _FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for folder in (*self._folders.values(), self._root):
            _close(folder)
        self._folders.clear()

    def own(self) -> None:
        """Give the workspace itself, and nothing in it, to its owner. Raises OSError."""
        self._give(self._root)

    def make_folder(self, path: str) -> None:
        with _obstacles():
            self._give(self._folder(path, create=True))  # again, since a kill may have come between making and giving

    def put(self, path: str, new: Record, staging: int, name: str, *, known: Record | None, aside: Path) -> Done:
        """Move the staged file `name` of the folder `staging` to `path`.

        `known` is what the agent last left there. Anything else is kept under `aside` first, unless it already is the
        wanted bytes: those are left untouched.
        """
        with _obstacles():
            folder, last = self._parent(path, create=True)
            there = _lstat(last, folder)
            note = None
            if there is not None and stat.S_ISREG(there.st_mode):
                if not untouched(there, known):
                    if there.st_size == new.size and _hash(last, folder) == new.sha256:
                        return Done(_record(there, new.sha256), touched=False)
                    note = self._keep(path, there, known, aside)
                elif in_place.fits(path, new, there):
                    written = in_place.overwrite(staging, name, folder, last, there)
                    if written is not None:
                        return Done(_record(written, new.sha256), touched=True)
            elif there is not None and stat.S_ISDIR(there.st_mode):
                self._forget(path)
                os.rmdir(last, dir_fd=folder)
            elif there is not None:
                note = "was a link or no regular file on the disk; it was replaced, and what it led to was not touched"
            os.rename(name, last, src_dir_fd=staging, dst_dir_fd=folder)
            return Done(new, touched=True, note=note)

    def adopt(self, path: str, sha256: str) -> Record | None:
        """The record of `path` when it already holds these bytes."""
        try:
            folder, last = self._parent(path, create=False)
            there = os.lstat(last, dir_fd=folder)
            same = there.st_size <= MAX_FILE_BYTES and _hash(last, folder) == sha256
        except (OSError, Obstacle):
            return None
        return _record(there, sha256) if same else None

    def remove(self, path: str, *, known: Record | None, aside: Path) -> str | None:
        """Delete `path` and the folders that this leaves empty. What is no file any more is not ours to delete.
        Returns what its owner should know.
        """
        with _obstacles():
            try:
                folder, last = self._parent(path, create=False)
            except FileNotFoundError:
                return None
            except Obstacle as obstacle:  # the file went with its folder; what stands there now is not ours
                return str(obstacle)
            there = _lstat(last, folder)
            note = None
            if there is None:
                return None
            if stat.S_ISDIR(there.st_mode):
                return "became a folder on the disk; it was left alone"
            if stat.S_ISREG(there.st_mode) and not untouched(there, known):
                note = self._keep(path, there, known, aside)
            os.unlink(last, dir_fd=folder)
            self._prune(path)
            return note

    def look(self, path: str, known: Record, *, read: bool) -> Record | None:
        """The record of `path` when it still holds the bytes of `known`, else None. `read`: believe no time stamp."""
        try:
            folder, last = self._parent(path, create=False)
            there = os.lstat(last, dir_fd=folder)
            if not stat.S_ISREG(there.st_mode):
                return None
            if path in NEXT_WRITES or (untouched(there, known) and not read):
                return known
            same = there.st_size == known.size and _hash(last, folder) == known.sha256
        except (OSError, Obstacle):
            return None
        return _record(there, known.sha256) if same else None

    def open(self, path: str) -> int:
        """A descriptor to read the regular file `path`; raises Obstacle."""
        with _obstacles():
            folder, last = self._parent(path, create=False)
            return _open(last, folder)

    def find(self, sizes: frozenset[int]) -> dict[str, str]:
        """sha256 → path of every file of one of these sizes, managed or not, outside the reserved folders."""
        found: dict[str, str] = {}
        for path, entry, folder in self._walk():
            with suppress(OSError, Obstacle):  # user code may take a file away between two looks
                if entry.stat(follow_symlinks=False).st_size in sizes:
                    found[_hash(entry.name, folder)] = path
        return found

    def paths(self, most: int) -> list[str]:
        """The first `most` regular files outside the reserved folders, in no order."""
        return [path for path, _, _ in islice(self._walk(), most)]

    def _walk(self) -> Iterator[tuple[str, os.DirEntry[str], int]]:
        """Every regular file outside the reserved folders: its path, its entry and its open folder."""
        waiting = [""]
        left = _LOOKED_AT_MOST
        while waiting:  # one folder after the other: user code may have nested them deeper than calls can be
            path = waiting.pop()
            with suppress(OSError, Obstacle), os.scandir(folder := self._folder(path, create=False)) as entries:
                for entry in islice(entries, left):
                    left -= 1
                    below = f"{path}/{entry.name}" if path else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name.casefold() not in RESERVED and len(below) < MAX_PATH_BYTES:
                            waiting.append(below)
                    elif entry.is_file(follow_symlinks=False):
                        yield below, entry, folder

    def _keep(self, path: str, there: os.stat_result, known: Record | None, aside: Path) -> str | None:
        """Link bytes that are not ours under `aside`; say so where they replace a file that the agent had written."""
        if path in NEXT_WRITES:
            return None
        folder, last = self._parent(path, create=False)
        if known is not None and there.st_size == known.size and _hash(last, folder) == known.sha256:
            return None
        target = aside / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(last, target, src_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            pass  # the same burst, repeated after a kill
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EMLINK}:
                raise
            if not _copy(last, folder, target):
                return "was made larger than any file of an app; the backend's version took its place"
        if known is None:
            return None
        where = f"STATE_DIR/{aside.parent.name}/{aside.name}/{path}"
        return f"was edited on the disk; the backend's version took its place, and the edit is kept in {where}"

    def _prune(self, path: str) -> None:
        above = path.rpartition("/")[0]
        while above:
            self._forget(above)
            parent, _, name = above.rpartition("/")
            try:
                os.rmdir(name, dir_fd=self._folder(parent, create=False))
            except OSError:
                return
            above = parent

    def _parent(self, path: str, *, create: bool) -> tuple[int, str]:
        above, _, last = path.rpartition("/")
        return self._folder(above, create=create), last

    def _folder(self, path: str, *, create: bool) -> int:
        if not path:
            return self._root
        if path in self._folders:
            self._folders.move_to_end(path)
            return self._folders[path]
        parent, _, name = path.rpartition("/")
        above = self._folder(parent, create=create)
        try:
            folder = os.open(name, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):  # somebody was quicker: whether it is a folder shows when it is opened
                os.mkdir(name, 0o755, dir_fd=above)
            folder = os.open(name, _FOLDER, dir_fd=above)
            try:
                self._give(folder)
            except OSError:
                _close(folder)
                raise
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise Obstacle(
                f"is not reached: {path} is {_kind(name, above)} on the disk, which is not followed"
            ) from None
        self._folders[path] = folder
        if len(self._folders) > _OPEN_FOLDERS:
            _close(self._folders.popitem(last=False)[1])
        return folder

    def _give(self, folder: int) -> None:
        """Only what is the agent's own: a folder that already is somebody's stays that."""
        if self._owner is not None and os.fstat(folder).st_uid == os.geteuid():
            os.fchown(folder, *self._owner)

    def _forget(self, path: str) -> None:
        """Close what is held of a folder that may go away, and of those below it."""
        for held in [held for held in self._folders if held == path or held.startswith(path + "/")]:
            _close(self._folders.pop(held))


def untouched(there: os.stat_result, known: Record | None) -> bool:
    return known is not None and (there.st_size, there.st_mtime_ns, there.st_ino) == known[1:]


def _record(there: os.stat_result, sha256: str) -> Record:
    return Record(sha256, there.st_size, there.st_mtime_ns, there.st_ino)


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _kind(name: str, folder: int) -> str:
    there = _lstat(name, folder)
    return "a link" if there is not None and stat.S_ISLNK(there.st_mode) else "no folder"


def _close(folder: int) -> None:
    with suppress(OSError):  # the descriptor is gone all the same, and nothing was written through it
        os.close(folder)


def _open(name: str, folder: int) -> int:
    file = os.open(name, _FILE, dir_fd=folder)
    try:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
    except OSError:
        _close(file)
        raise
    if not regular:
        _close(file)
        raise Obstacle("is no regular file on the disk")
    return file


def _hash(name: str, folder: int) -> str:
    with os.fdopen(_open(name, folder), "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(name: str, folder: int, target: Path) -> bool:
    """Whether it was small enough to be copied: a file of holes costs its owner nothing."""
    with os.fdopen(_open(name, folder), "rb") as source:
        data = source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return False
    target.write_bytes(data)
    return True


@contextmanager
def _obstacles() -> Iterator[None]:
    """The system's word about one path, as an Obstacle."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise Obstacle("is a folder on the disk that holds files which are not the app's") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Obstacle(f"could not be written: {reason}", passing=True) from error
