"""What is on disk and whose doing it was: a journal in STATE_DIR, one JSON record a line.

    {"v": 1, "app": …, "api": …, "etag": …, "revision": …, "complete": …,
     "files": {path: [sha256, size, mtime_ns, inode]}, "template": {path: […]}}
    {"begin": {"steps": [[kind, path, sha256, staged name, template]], "etag": …, "revision": …}}
    {"commit": {"files": {…}, "template": {…}, "removed": [path], "etag": …, "revision": …, "complete": …}}
    {"closed": true}

Invariants: the first line is a whole state and later lines change it. `commit` is on stable storage before it returns,
and only then does a set count as applied. A journal that does not end in `closed` was left by a kill: the disk is read
again before the journal is believed. A `begin` without its `commit` says what the burst would have done, so that the
next start can finish it and does not take our own half-written set for somebody's edits. `begin` is not forced to
storage: a kill keeps it, and after a power cut the worst is one needless copy kept aside.

What must not live here: the workspace itself (tree.py), and when to do what (apply.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

COMPACT_BYTES = 1024 * 1024
"""A journal that has grown by more than this and its first line's length is written anew."""


class Record(NamedTuple):
    """A managed file as the agent left it. The last three tell whether it was touched, without reading it."""

    sha256: str
    size: int
    mtime_ns: int
    inode: int


class Step(NamedTuple):
    """One operation of a burst; a put carries its hash and the name its bytes are staged under. `template`: the file is
    the template's and not one of the set.
    """

    kind: Literal["folder", "put", "remove"]
    path: str
    sha256: str = ""
    name: str = ""
    template: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """One burst, in order, and the tag and revision that the disk stands for afterwards."""

    steps: tuple[Step, ...]
    etag: str | None
    revision: int | None


class Foreign(Exception):
    """The state folder belongs to another app."""


class Manifest:
    """The journal and the state it stands for. Used by one thread at a time; every call may block on the disk."""

    def __init__(self, path: Path, *, app: str, api: str) -> None:
        self._path = path
        self._app = app
        self._api = api
        self._log: int | None = None
        self._grown = 0
        self._whole = 0
        self._behind = False
        self.files: dict[str, Record] = {}
        self.template: dict[str, Record] = {}
        self.etag: str | None = None
        self.revision: int | None = None
        self.complete = False
        self.unclean = False
        self.intent: Intent | None = None
        self.damaged: str | None = None

    def open(self) -> None:
        """Read what is there and start a new journal. Raises Foreign when it is another app's.

        Afterwards `unclean` says that the last life was not closed, `intent` is the burst that it may have left
        unfinished, and `damaged` is why a journal could not be read (it is kept beside the new one).
        """
        try:
            self._replay(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kept = self._path.with_suffix(".damaged")
            self._path.replace(kept)
            self.files, self.template, self.etag, self.revision, self.intent = {}, {}, None, None, None
            self.complete, self.unclean = False, True
            self.damaged = f"{self._path.name} could not be read ({error}); it is kept as {kept.name}"
        self._rewrite()

    def begin(self, intent: Intent) -> None:
        self.intent = intent
        self._append(_begun(intent))

    def commit(
        self,
        files: Mapping[str, Record],
        removed: Iterable[str],
        *,
        template: Mapping[str, Record] | None = None,
        etag: str | None,
        revision: int | None,
        complete: bool,
    ) -> None:
        """Make what was done the truth, on stable storage. `complete`: the files are one whole set of the backend's.
        `template`: files of the template that were put in place. A path is the set's or the template's, never both.
        """
        done = {"files": files, "template": template or {}, "removed": [*removed]}
        self._change(done)
        self.etag, self.revision, self.complete, self.intent = etag, revision, complete, None
        try:
            if self._behind or self._grown > COMPACT_BYTES + self._whole:
                self._rewrite()
                return
            self._behind = True  # until it is on stable storage: a later commit writes the whole state instead
            self._append({"commit": {**done, "etag": etag, "revision": revision, "complete": complete}})
            self._force()
            self._behind = False
        except OSError:
            self.etag, self.complete = None, False  # it does not count as applied: the set is asked for again, whole
            raise

    @property
    def exists(self) -> bool:
        """Whether an agent has worked here before."""
        return self._path.exists()

    def adopt_template(self, files: Mapping[str, Record]) -> None:
        """Record which files of the template stand in the workspace, while no file of a set does."""
        self.template = dict(files)
        self._rewrite()

    def besides(self, paths: AbstractSet[str]) -> tuple[int, int]:
        """How many files there are, and of how many bytes, without those at `paths`."""
        without = self.files.keys() & paths
        size = sum(record.size for record in self.files.values()) - sum(self.files[path].size for path in without)
        return len(self.files) - len(without), size

    def close(self) -> None:
        """End this life in order. Idempotent."""
        if self._log is None:
            return
        try:
            if self._behind:
                self._rewrite()
            self._append({"closed": True})
            self._force()
        finally:
            os.close(self._log)
            self._log = None

    def _change(self, done: Mapping[str, Any]) -> None:
        files, template = _records(done["files"]), _records(done.get("template", {}))
        for path in (*done["removed"], *template):
            self.files.pop(path, None)
        for path in (*done["removed"], *files):
            self.template.pop(path, None)
        self.files |= files
        self.template |= template

    def _force(self) -> None:
        if self._log is not None:
            os.fdatasync(self._log)

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._log is None:
            raise ValueError("the manifest is closed")
        line = _line(record)
        end = self._whole + self._grown
        try:
            _write(self._log, line)
        except OSError:
            self._behind = True  # half a line may be left: the next commit writes the whole state
            os.ftruncate(self._log, end)
            raise
        self._grown += len(line)

    def _rewrite(self) -> None:
        """Write the whole state as a new journal's first line, and put it in the old one's place in one step."""
        state = {
            "v": 1,
            "app": self._app,
            "api": self._api,
            "etag": self.etag,
            "revision": self.revision,
            "complete": self.complete,
            "files": self.files,
            "template": self.template,
        }
        lines = _line(state) + (_line(_begun(self.intent)) if self.intent is not None else b"")
        fresh = self._path.with_suffix(".new")
        self._behind = True  # until all of it went through
        log = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND, 0o600)
        try:
            _write(log, lines)
            os.fsync(log)
            fresh.replace(self._path)
        except OSError:
            os.close(log)
            raise
        old, self._log, self._grown, self._whole = self._log, log, 0, len(lines)
        if old is not None:
            os.close(old)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._behind = False

    def _replay(self, journal: bytes) -> None:
        lines = journal.split(b"\n")
        if lines[-1]:  # a last line without its newline was being written when the kill came: it never counted
            self.unclean = True
        first = orjson.loads(lines[0])
        if first["v"] != 1:
            raise ValueError(f"it is of version {first['v']}")
        if first["app"] != self._app:
            raise Foreign(first["app"])
        self.files = _records(first["files"])
        self.template = _records(first.get("template", {}))
        self.etag, self.revision, self.complete = first["etag"], first["revision"], first["complete"]
        closed = False
        for line in lines[1:-1]:
            entry = orjson.loads(line)
            closed = "closed" in entry
            if "begin" in entry:
                self.intent = _intent(entry["begin"])
            elif "commit" in entry:
                done = entry["commit"]
                self._change(done)
                self.etag, self.revision, self.complete = done["etag"], done["revision"], done["complete"]
                self.intent = None
        self.unclean = self.unclean or not closed
        if first["api"] != self._api:  # another backend's tag and numbers say nothing about this one's
            self.etag = self.revision = None


def _records(files: Mapping[str, Sequence[Any]]) -> dict[str, Record]:
    return {path: Record(*record) for path, record in files.items()}


def _line(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record, default=list, option=orjson.OPT_APPEND_NEWLINE)  # a named tuple is written as an array


def _write(log: int, data: bytes) -> None:
    while data:
        data = data[os.write(log, data) :]


def _begun(intent: Intent) -> Mapping[str, Any]:
    return {"begin": {"steps": intent.steps, "etag": intent.etag, "revision": intent.revision}}


def _intent(begun: Mapping[str, Any]) -> Intent:
    return Intent(tuple(Step(*step) for step in begun["steps"]), begun["etag"], begun["revision"])
