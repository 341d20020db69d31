"""The staging folder: bytes that were received and are not in the workspace yet.

It is in STATE_DIR, which no file watcher sees, on the filesystem of the workspace, so that moving a file in is one
rename. Every file here is complete, its hash was checked, and the hash is its name. Bytes of a failed attempt are
reused by the next one. Every call may block on the disk.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from agent.sync.disk.journal import FileRecord

Owner = tuple[int, int]
"""User and group."""


class Stage:
    def __init__(self, folder: Path, owner: Owner | None = None) -> None:
        """`owner`: the owner of the files in the workspace, if that is not the agent's own user."""
        self._owner = owner
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._names = self._list_names()
        except OSError:
            os.close(self.folder)
            raise

    def has(self, sha256: str) -> bool:
        return sha256 in self._names

    def add(self, sha256: str, data: bytes) -> None:
        if sha256 not in self._names:
            self._write(sha256, data)

    def open_writer(self, sha256: str) -> StagedWriter:
        """A writer for bytes that arrive in pieces. They are staged under their hash once `finish` has checked it."""
        return StagedWriter(self, sha256)

    def name_to_rename(self, sha256: str, index: int, *, again: bool) -> str:
        """The name of a staged file with these bytes, to be renamed into place. `again`: another path needs the same
        bytes later, so this one gets a copy, whose name is made unique by `index`.
        """
        if not again:
            return sha256
        name = f"{sha256}.{index}"
        self._write(name, self.read(sha256))
        return name

    def read(self, sha256: str) -> bytes:
        with os.fdopen(os.open(sha256, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder), "rb") as source:
            return source.read()

    def record(self, name: str, sha256: str) -> FileRecord:
        """The record that the file will have after the rename. Raises FileNotFoundError if it is gone."""
        there = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
        return FileRecord(sha256, there.st_size, there.st_mtime_ns, there.st_ino)

    def drop_unless(self, name: str, sha256: str) -> None:
        """Delete `name` if its bytes do not match, as is possible after a kill or a power failure."""
        with suppress(FileNotFoundError):
            with os.fdopen(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder), "rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if not whole:
                os.unlink(name, dir_fd=self.folder)

    def clear(self) -> None:
        """Delete everything. A file that cannot be deleted is overwritten when its name is needed again."""
        self._names.clear()
        for name in self._list_names():
            with suppress(OSError):
                os.unlink(name, dir_fd=self.folder)

    def close(self) -> None:
        if self.folder >= 0:
            folder, self.folder = self.folder, -1
            with suppress(OSError):
                os.close(folder)

    def _list_names(self) -> set[str]:
        with os.scandir(self.folder) as entries:
            return {entry.name for entry in entries}

    def _write(self, name: str, data: bytes) -> None:
        file = self.create(name)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        except OSError:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.folder)
            raise
        finally:
            os.close(file)
        self._names.add(name)

    def create(self, name: str) -> int:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644, dir_fd=self.folder)
        if self._owner is not None:
            try:
                os.fchown(file, *self._owner)
            except OSError:
                os.close(file)
                raise
        return file

    def accept(self, partial: str, sha256: str) -> None:
        os.rename(partial, sha256, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        self._names.add(sha256)


class StagedWriter:
    """Writes one staged file piece by piece. The file is created by the first write, so that an unused writer leaves
    nothing behind.
    """

    def __init__(self, stage: Stage, sha256: str) -> None:
        self._stage = stage
        self._sha256 = sha256
        self._partial = f"{sha256}.part"
        self._hash = hashlib.sha256()
        self._file = -1
        self.size = 0

    def write(self, data: bytes) -> None:
        if self._file < 0:
            self._file = self._stage.create(self._partial)
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> bool:
        """Stage the file if its hash matches. Returns whether it does."""
        try:
            whole = self._hash.hexdigest() == self._sha256
            if whole:
                self.write(b"")  # creates the file if it is empty
                self._stage.accept(self._partial, self._sha256)
        finally:
            self.abandon()
        return whole

    def abandon(self) -> None:
        """Close the file, and delete it if it was not accepted. Idempotent."""
        if self._file >= 0:
            file, self._file = self._file, -1
            with suppress(OSError):  # write errors were raised before; a file that stays is cleared later
                os.close(file)
            with suppress(OSError):
                os.unlink(self._partial, dir_fd=self._stage.folder)
