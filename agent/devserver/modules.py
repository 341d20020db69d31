"""node_modules on the disk: what it stands for, and what of it cannot be trusted after an installation was cut short.

In STATE_DIR are
  packages.json    the digest (packages.py) that node_modules stands for, written after an installation succeeded;
  packages.begun   from the first change of an installation to its end; one that is found was left by a kill, and
                   everything in node_modules that is younger may be half written;
  packages.lent    while package-lock.json in the workspace is npm's own record, lent as a lock file;
  packages.old     the tree of another layout, while a new one is made; put back when that fails;
  packages.trash   one that is not needed any more, on its way out.

User code owns the workspace: nothing is read or written through a link. Everything here blocks: it belongs in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import orjson
import structlog

from agent.devserver.packages import LOCKS, MANIFEST, NPM_LOCKS, Files
from agent.devserver.removal import remove
from agent.errors import DiskError

log = structlog.get_logger()

RECORD: Final = "packages.json"
BEGUN: Final = "packages.begun"
LENT: Final = "packages.lent"
OLD: Final = "packages.old"
TRASH: Final = "packages.trash"
MODULES: Final = "node_modules"
HIDDEN_LOCK: Final = "node_modules/.package-lock.json"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_BYTES = 16 * 1024 * 1024
_READ_ALL_BYTES = 32 * 1024 * 1024
_VERSION_CHARACTERS = 256  # npm's own limit; it is told in a log and in /status
_DEEPEST = 100
"""Packages in each other. No installer nests them so; user code may, without end."""


class Modules:
    def __init__(self, workspace: Path, state_dir: Path, *, owner: tuple[int, int] | None = None) -> None:
        """`owner`: user and group of what is written into the workspace, where those are not the agent's own."""
        self._owner = owner
        self._workspace = workspace
        self._state_dir = state_dir
        self._old = state_dir / OLD
        self._hurry = threading.Event()

    def hurry(self) -> None:
        """Let a call in another thread end soon, with a DiskError: the agent stops. What it did stays good."""
        self._hurry.set()

    @property
    def exist(self) -> bool:
        return self._inode() is not None

    @property
    def are_pnpms(self) -> bool:
        """Its layout is links into a store of its own; npm and bun share the other one."""
        return os.path.lexists(self._workspace / MODULES / ".modules.yaml")

    def read(self, path: str, most: int = _READ_BYTES) -> bytes | None:
        """The bytes of a file in the workspace; None when it is no file, larger than `most`, behind a link, or another
        name of a file that is not the app's.
        """
        *above, name = path.split("/")
        try:
            folder = os.open(self._workspace, _FOLDER)
            try:
                for part in above:
                    folder, outer = os.open(_sound(part), _FOLDER, dir_fd=folder), folder
                    os.close(outer)
                return self._bytes(os.open(_sound(name), _FILE, dir_fd=folder), most)
            finally:
                os.close(folder)
        except (OSError, ValueError):
            return None

    def read_all(self, paths: Iterable[str]) -> Files:
        """Those that there is room for: files of holes cost their maker nothing, and fill the agent's memory. The
        root's own come first.
        """
        found: dict[str, bytes] = {}
        left = _READ_ALL_BYTES
        for path in sorted(paths, key=lambda path: (path.count("/"), path != MANIFEST, path)):
            data = self.read(path, min(left, _READ_BYTES))
            if data is not None:
                found[path] = data
                left -= len(data)
        return found

    def version(self, name: str) -> str | None:
        """The version of an installed package."""
        try:
            said = orjson.loads(self.read(f"{MODULES}/{name}/package.json") or b"")
        except orjson.JSONDecodeError:
            return None
        version = said.get("version") if isinstance(said, dict) else None
        return version if isinstance(version, str) and len(version) <= _VERSION_CHARACTERS else None

    def stand_for(self, digest: str) -> bool:
        if not self.are_sound:
            return False
        try:
            said = orjson.loads((self._state_dir / RECORD).read_bytes())
            return (said["digest"], said["inode"]) == (digest, self._inode())
        except (OSError, orjson.JSONDecodeError, LookupError, TypeError):
            return False

    @property
    def are_sound(self) -> bool:
        """No installation in them was cut short."""
        return not os.path.lexists(self._state_dir / BEGUN)

    def note(self, digest: str) -> None:
        """From now on node_modules stands for `digest`."""
        with self._errors():
            fresh = (self._state_dir / RECORD).with_suffix(".new")
            fresh.write_bytes(orjson.dumps({"digest": digest, "inode": self._inode()}))
            fresh.replace(self._state_dir / RECORD)
            if os.path.lexists(self._old):
                self._discard(self._old)
            (self._state_dir / BEGUN).unlink(missing_ok=True)
            self._empty_trash()

    def begin(self, *, pnpm: bool, own_files: bool, prune: bool) -> None:
        """Make ready for an installation: mend what an earlier one left behind, and say that one is under way.

        `pnpm`: which layout comes; a tree of the other one is moved away. `own_files`: files that have another name
        outside (scripts/dev links the template's packages) get bytes of their own, because scripts may write into them.
        `prune`: npm is to take away what nobody asks for any more, which it does not without a lock file.
        """
        with self._errors():
            self.put_back()
            begun = self._state_dir / BEGUN
            (self._state_dir / RECORD).unlink(missing_ok=True)
            if os.path.lexists(begun):
                self._drop_younger(begun.stat().st_ctime_ns)
            else:
                begun.touch()
            if self.exist and self.are_pnpms != pnpm:
                (self._workspace / MODULES).rename(self._old)
            if own_files:
                self._own_files()
            if prune and not any(os.path.lexists(self._workspace / lock) for lock in NPM_LOCKS):
                self._lend_lock()

    def drop(self, names: Iterable[str]) -> None:
        """Take these packages away."""
        for name in names:
            scope, _, last = name.rpartition("/")
            with suppress(OSError):  # it is not there
                folder = os.open(self._workspace / MODULES, _FOLDER)
                try:
                    if scope:
                        folder, outer = os.open(_sound(scope), _FOLDER, dir_fd=folder), folder
                        os.close(outer)
                    remove(last, folder)
                finally:
                    os.close(folder)

    def end(self) -> None:
        """The installation failed by its own word: it left the tree as it wanted to leave it."""
        with self._errors():
            self.put_back()
            (self._state_dir / BEGUN).unlink(missing_ok=True)

    def recover(self) -> None:
        """After a kill: have back what an installation had moved away, and away what it had lent."""
        with self._errors():
            if os.path.lexists(self._state_dir / LENT):
                (self._workspace / NPM_LOCKS[0]).unlink(missing_ok=True)
                (self._state_dir / LENT).unlink()
        self.put_back()

    def put_back(self) -> None:
        """Give up what was made in place of a tree of the other layout, where there is such."""
        with self._errors():
            if not os.path.lexists(self._old):
                return
            if os.path.lexists(self._workspace / MODULES):
                self._discard(self._workspace / MODULES)
            self._old.rename(self._workspace / MODULES)

    def locks(self) -> dict[str, bytes | None]:
        """Every lock file with its bytes, None for one that is not there."""
        return {name: self.read(name) for name in LOCKS}

    def restore(self, before: dict[str, bytes | None]) -> None:
        """Undo what an installer did to lock files: which versions are wanted is the backend's to say."""
        with self._errors():
            for name, data in before.items():
                if data == self.read(name):
                    continue
                if data is None:
                    (self._workspace / name).unlink(missing_ok=True)
                else:
                    self._put(name, data)
            (self._state_dir / LENT).unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        fresh = self._state_dir / f"{RECORD}.lock"
        fresh.write_bytes(data)
        fresh.chmod(0o644)
        if self._owner is not None:
            os.chown(fresh, *self._owner)
        fresh.replace(self._workspace / name)

    def _bytes(self, file: int, most: int) -> bytes | None:
        with os.fdopen(file, "rb") as opened:
            there = os.fstat(file)
            if not stat.S_ISREG(there.st_mode) or there.st_size > most:
                return None
            # Where the kernel lets everybody name every file, a lock file may be one that only root can read, and what
            # `restore` makes of it is the app's.
            if self._owner is not None and there.st_nlink > 1 and there.st_uid != self._owner[0]:
                return None
            return opened.read(most)

    def _inode(self) -> int | None:
        try:
            there = (self._workspace / MODULES).lstat()
        except OSError:
            return None
        return there.st_ino if stat.S_ISDIR(there.st_mode) else None

    def _drop_younger(self, than: int) -> None:
        """Take away each package that was made or moved after this moment: a half written one looks whole to npm. pnpm
        moves each package in whole.
        """
        if self.are_pnpms:
            return
        with suppress(OSError):
            dropped = _drop_younger(os.open(self._workspace / MODULES, _FOLDER), than)
            log.warning("packages.mended", dropped=dropped)

    def _lend_lock(self) -> None:
        """Give npm its own record of what is there as the lock file. (Without the record it would find out by itself
        what is extraneous, and write every package anew that no lock file names: each would be missing for a while.)
        """
        record = self.read(HIDDEN_LOCK)
        if record is not None:
            (self._state_dir / LENT).touch()
            self._put(NPM_LOCKS[0], record)

    def _own_files(self) -> None:
        if not self.exist:
            return
        copy = self._state_dir / f"{RECORD}.copy"
        for _, _, names, folder in os.fwalk(self._workspace / MODULES):
            self._check_hurry()
            for name in names:
                there = os.lstat(name, dir_fd=folder)
                if stat.S_ISREG(there.st_mode) and there.st_nlink > 1:
                    with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as source, copy.open("wb") as target:
                        there = os.fstat(source.fileno())  # another file may have taken the name
                        shutil.copyfileobj(source, target)
                        os.fchmod(target.fileno(), stat.S_IMODE(there.st_mode))
                        os.fchown(target.fileno(), there.st_uid, there.st_gid)
                    os.utime(copy, ns=(there.st_atime_ns, there.st_mtime_ns))
                    os.rename(copy, name, dst_dir_fd=folder)

    def _discard(self, tree: Path) -> None:
        self._empty_trash()
        tree.rename(self._state_dir / TRASH)

    def _empty_trash(self) -> None:
        state = os.open(self._state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove(TRASH, state, between=self._check_hurry)
        finally:
            os.close(state)

    def _check_hurry(self) -> None:
        if self._hurry.is_set():
            raise DiskError("the packages cannot be installed: the agent stops")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RecursionError:
            place = self._workspace / MODULES
            raise DiskError(f"the packages cannot be installed: {place}: its folders are nested too deeply") from None
        except OSError as error:
            place = error.filename or self._state_dir
            raise DiskError(f"the packages cannot be installed: {place}: {error.strerror or error}") from error


def _sound(part: str) -> str:
    if part in {"", ".", ".."}:
        raise ValueError(part)
    return part


def _drop_younger(folder: int, than: int, depth: int = 0) -> int:
    """`folder`: a node_modules, or a scope in one; it is closed."""
    dropped = 0
    try:
        for name in os.listdir(folder):
            there = os.lstat(name, dir_fd=folder)
            if not stat.S_ISDIR(there.st_mode) or name in {".bin", ".cache"}:
                continue
            if there.st_ctime_ns >= than and not name.startswith("@"):
                remove(name, folder)
                dropped += 1
                continue
            if depth < _DEEPEST:
                with suppress(OSError):
                    dropped += _drop_younger(_inner(name, folder), than, depth + 1)
    finally:
        os.close(folder)
    return dropped


def _inner(name: str, folder: int) -> int:
    """The node_modules of a package, or the scope itself."""
    inner = os.open(name, _FOLDER, dir_fd=folder)
    if name.startswith("@"):
        return inner
    try:
        return os.open(MODULES, _FOLDER, dir_fd=inner)
    finally:
        os.close(inner)
