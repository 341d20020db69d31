"""Reads and changes the workspace, one path at a time, without ever following a symbolic link.

The app's code runs in the workspace and may do anything at any time: create links, swap folders, put pipes where files
were. So each folder is opened with O_NOFOLLOW relative to its parent, and every operation is relative to that
descriptor; the kernel never resolves a whole path. A file is replaced by one rename, so it is always complete and never
missing; a style sheet is overwritten in place (in_place.py). Bytes that the agent did not write are kept aside before
they are replaced.

What must not live here: which paths, and in which order (plan.py), and the record of the result (journal.py).
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

from agent.nofollow import open_file, open_folder
from agent.paths import MAX_FILE_BYTES, MAX_PATH_BYTES, NEXT_WRITES, RESERVED
from agent.sync.disk import in_place
from agent.sync.disk.journal import FileRecord
from agent.sync.disk.staging import Owner

_OPEN_FOLDERS = 64
_ENTRIES_MOST = 200_000
"""A walk ends after this many entries, ten times what an app may have: the app's code may have created millions."""


class Obstacle(Exception):
    """The operation on one path failed; others can go on. `transient`: the same operation may succeed later."""

    def __init__(self, why: str, *, transient: bool = False) -> None:
        super().__init__(why)
        self.transient = transient


class PutResult(NamedTuple):
    record: FileRecord
    """The file that is there now."""
    changed: bool
    """False if the wanted bytes were there already."""
    note: str | None = None
    """The end of a sentence, shown as a problem."""


class Tree:
    """Open descriptors of the workspace for one burst or one check. Not thread-safe."""

    def __init__(self, root: Path, owner: Owner | None = None) -> None:
        """`owner`: the owner of new folders, if that is not the agent's own user."""
        self._owner = owner
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._root = open_folder(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for folder in (*self._folders.values(), self._root):
            _close(folder)
        self._folders.clear()

    def give_root_to_owner(self) -> None:
        """Change the owner of the workspace folder, not of its contents. Raises OSError."""
        self._chown_if_ours(self._root)

    def make_folder(self, path: str) -> None:
        with _obstacles():
            self._chown_if_ours(self._folder(path, create=True))  # a kill may have come between mkdir and chown

    def put(
        self, path: str, new: FileRecord, staging: int, name: str, *, known: FileRecord | None, aside: Path
    ) -> PutResult:
        """Rename the staged file `name` of the folder `staging` to `path`.

        `known` is the file that the agent last wrote there. A file with other bytes is kept under `aside` first. If it
        already has the wanted bytes, it is left untouched.
        """
        with _obstacles():
            folder, last = self._parent(path, create=True)
            there = _lstat(last, folder)
            note = None
            if there is not None and stat.S_ISREG(there.st_mode):
                if not is_untouched(there, known):
                    if there.st_size == new.size and _hash(last, folder) == new.sha256:
                        return PutResult(_record(there, new.sha256), changed=False)
                    note = self._keep_aside(path, there, known, aside)
                elif in_place.fits(path, new, there):
                    written = in_place.overwrite(staging, name, folder, last, there)
                    if written is not None:
                        return PutResult(_record(written, new.sha256), changed=True)
            elif there is not None and stat.S_ISDIR(there.st_mode):
                self._close_folders(path)
                os.rmdir(last, dir_fd=folder)
            elif there is not None:
                note = "was a link or special file on disk; it was replaced, and the target of a link was not touched"
            os.rename(name, last, src_dir_fd=staging, dst_dir_fd=folder)
            return PutResult(new, changed=True, note=note)

    def record_if_equal(self, path: str, sha256: str) -> FileRecord | None:
        """The record of `path` if it already holds these bytes, else None."""
        try:
            folder, last = self._parent(path, create=False)
            there = os.lstat(last, dir_fd=folder)
            same = there.st_size <= MAX_FILE_BYTES and _hash(last, folder) == sha256
        except (OSError, Obstacle):
            return None
        return _record(there, sha256) if same else None

    def remove(self, path: str, *, known: FileRecord | None, aside: Path) -> str | None:
        """Delete the file `path` and the folders that this leaves empty. A folder that replaced the file stays.
        Returns a note (the end of a sentence) if the file was not as expected.
        """
        with _obstacles():
            try:
                folder, last = self._parent(path, create=False)
            except FileNotFoundError:
                return None
            except Obstacle as obstacle:  # its folder was replaced by something else, so the file is gone
                return str(obstacle)
            there = _lstat(last, folder)
            note = None
            if there is None:
                return None
            if stat.S_ISDIR(there.st_mode):
                return "became a folder on disk; it was not deleted"
            if stat.S_ISREG(there.st_mode) and not is_untouched(there, known):
                note = self._keep_aside(path, there, known, aside)
            os.unlink(last, dir_fd=folder)
            self._remove_empty_parents(path)
            return note

    def verify(self, path: str, known: FileRecord, *, read: bool) -> FileRecord | None:
        """The record of `path` if it still holds the bytes of `known`, else None. `read`: hash it even if its time
        stamp is unchanged.
        """
        try:
            folder, last = self._parent(path, create=False)
            there = os.lstat(last, dir_fd=folder)
            if not stat.S_ISREG(there.st_mode):
                return None
            if path in NEXT_WRITES or (is_untouched(there, known) and not read):
                return known
            same = there.st_size == known.size and _hash(last, folder) == known.sha256
        except (OSError, Obstacle):
            return None
        return _record(there, known.sha256) if same else None

    def open(self, path: str) -> int:
        """A descriptor for reading the regular file `path`. Raises Obstacle."""
        with _obstacles():
            folder, last = self._parent(path, create=False)
            return _open(last, folder)

    def find_by_sizes(self, sizes: frozenset[int]) -> dict[str, str]:
        """sha256 → path of every file of one of these sizes, managed or not, outside the reserved folders."""
        found: dict[str, str] = {}
        for path, entry, folder in self._walk():
            with suppress(OSError, Obstacle):  # the app's code may delete a file at any time
                if entry.stat(follow_symlinks=False).st_size in sizes:
                    found[_hash(entry.name, folder)] = path
        return found

    def first_paths(self, most: int) -> list[str]:
        """The first `most` regular files outside the reserved folders, in no order."""
        return [path for path, _, _ in islice(self._walk(), most)]

    def _walk(self) -> Iterator[tuple[str, os.DirEntry[str], int]]:
        """Every regular file outside the reserved folders: its path, its entry and its open folder."""
        waiting = [""]
        left = _ENTRIES_MOST
        while waiting:  # not recursive: the app's code may nest folders deeper than the recursion limit
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

    def _keep_aside(self, path: str, there: os.stat_result, known: FileRecord | None, aside: Path) -> str | None:
        """Hard-link bytes of somebody else under `aside`. Returns a note if they had replaced a managed file."""
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
            pass  # this burst is being repeated after a kill
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EMLINK}:
                raise
            if not _copy(last, folder, target):
                return "was edited on disk to more than an app's file may have; the backend's version replaced it"
        if known is None:
            return None
        where = f"STATE_DIR/{aside.parent.name}/{aside.name}/{path}"
        return f"was edited on disk; the backend's version replaced it, and the edit is kept in {where}"

    def _remove_empty_parents(self, path: str) -> None:
        above = path.rpartition("/")[0]
        while above:
            self._close_folders(above)
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
            folder = open_folder(name, above)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):  # created meanwhile; the open fails if it is not a folder
                os.mkdir(name, 0o755, dir_fd=above)
            folder = open_folder(name, above)
            try:
                self._chown_if_ours(folder)
            except OSError:
                _close(folder)
                raise
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise Obstacle(
                f"could not be reached: {path} is {_file_type(name, above)} on disk, which is not followed"
            ) from None
        self._folders[path] = folder
        if len(self._folders) > _OPEN_FOLDERS:
            _close(self._folders.popitem(last=False)[1])
        return folder

    def _chown_if_ours(self, folder: int) -> None:
        """Change the owner of a folder if the agent's user owns it."""
        if self._owner is not None and os.fstat(folder).st_uid == os.geteuid():
            os.fchown(folder, *self._owner)

    def _close_folders(self, path: str) -> None:
        """Close the descriptors of a folder that may be deleted, and of the folders below it."""
        for folder in [each for each in self._folders if each == path or each.startswith(path + "/")]:
            _close(self._folders.pop(folder))


def is_untouched(there: os.stat_result, known: FileRecord | None) -> bool:
    return known is not None and (there.st_size, there.st_mtime_ns, there.st_ino) == known[1:]


def _record(there: os.stat_result, sha256: str) -> FileRecord:
    return FileRecord(sha256, there.st_size, there.st_mtime_ns, there.st_ino)


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _file_type(name: str, folder: int) -> str:
    there = _lstat(name, folder)
    return "a link" if there is not None and stat.S_ISLNK(there.st_mode) else "not a folder"


def _close(folder: int) -> None:
    with suppress(OSError):  # the descriptor is closed in any case, and nothing was written through it
        os.close(folder)


def _open(name: str, folder: int) -> int:
    file = open_file(name, folder)
    try:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
    except OSError:
        _close(file)
        raise
    if not regular:
        _close(file)
        raise Obstacle("is not a regular file on disk")
    return file


def _hash(name: str, folder: int) -> str:
    with os.fdopen(_open(name, folder), "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(name: str, folder: int, target: Path) -> bool:
    """Copy the file unless it exceeds MAX_FILE_BYTES (a sparse file can be huge). Returns whether it was copied."""
    with os.fdopen(_open(name, folder), "rb") as source:
        data = source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return False
    target.write_bytes(data)
    return True


@contextmanager
def _obstacles() -> Iterator[None]:
    """Convert an OSError to an Obstacle."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise Obstacle("is a folder on disk that contains other files") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Obstacle(f"could not be written: {reason}", transient=True) from error
