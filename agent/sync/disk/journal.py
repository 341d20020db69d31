"""Records which files the agent wrote: a journal in STATE_DIR with one JSON object per line.

    {"v": 1, "app": …, "api": …, "etag": …, "revision": …, "complete": …,
     "files": {path: [sha256, size, mtime_ns, inode]}, "template": {path: […]}}
    {"begin": {"steps": [[kind, path, sha256, staged name, template]], "etag": …, "revision": …}}
    {"commit": {"files": {…}, "template": {…}, "removed": [path], "etag": …, "revision": …, "complete": …}}
    {"closed": true}

Invariants: the first line is a complete state and later lines change it. `commit` is on stable storage before it
returns, and only then does a set count as applied. A journal that does not end in `closed` was left by a killed agent:
the files are hashed before the journal is trusted. A `begin` without a `commit` lists the steps of an interrupted
burst, so that the next start can finish it and does not mistake a half-written set for edits. `begin` is not fsynced:
it survives a kill, and after a power failure the worst result is one needless copy kept aside.

What must not live here: access to the workspace (workspace_tree.py), and the order of steps (store.py, apply.py).
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
"""The journal is rewritten once its later lines exceed this plus the length of its first line."""


class FileRecord(NamedTuple):
    """A managed file as the agent wrote it. The last three fields show a change without reading the file."""

    sha256: str
    size: int
    mtime_ns: int
    inode: int


class JournalStep(NamedTuple):
    """One operation of a burst."""

    kind: Literal["folder", "put", "remove"]
    path: str
    sha256: str = ""
    name: str = ""
    """The name under which the bytes of a put are staged."""
    template: bool = False
    """The file comes from the template and not from the backend's set."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The steps of one burst in order, and the tag and revision of the set that is on disk afterwards."""

    steps: tuple[JournalStep, ...]
    etag: str | None
    revision: int | None


class ForeignState(Exception):
    """STATE_DIR belongs to another app."""


class Manifest:
    """The journal and the state it describes. Not thread-safe; every call may block on the disk."""

    def __init__(self, path: Path, *, app: str, api: str) -> None:
        self._path = path
        self._app = app
        self._api = api
        self._file: int | None = None
        self._appended_bytes = 0
        self._first_line_bytes = 0
        self._needs_rewrite = False
        """The file may lack a change or end in half a line, so the next commit writes the complete state."""
        self.files: dict[str, FileRecord] = {}
        """Managed path → the file of the backend's set there."""
        self.template: dict[str, FileRecord] = {}
        """Path → the template's file there. No path is in both."""
        self.etag: str | None = None
        self.revision: int | None = None
        self.complete = False
        """`files` is one whole set of the backend."""
        self.unclean = False
        """The previous run was not closed cleanly."""
        self.intent: Intent | None = None
        """A burst that was begun and not committed."""
        self.damaged: str | None = None
        """Why the previous journal could not be read."""

    def open(self) -> None:
        """Read the existing journal and start a new one. An unreadable journal is kept beside the new one.

        Raises ForeignState if it belongs to another app.
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
        self._append(_begin_line(intent))

    def commit(
        self,
        files: Mapping[str, FileRecord],
        removed: Iterable[str],
        *,
        template: Mapping[str, FileRecord] | None = None,
        etag: str | None,
        revision: int | None,
        complete: bool,
    ) -> None:
        """Record the result of a burst on stable storage. `complete`: the files are one whole set of the backend.
        `template`: files of the template that were placed.
        """
        changes = {"files": files, "template": template or {}, "removed": [*removed]}
        self._apply_commit(changes)
        self.etag, self.revision, self.complete, self.intent = etag, revision, complete, None
        try:
            if self._needs_rewrite or self._appended_bytes > COMPACT_BYTES + self._first_line_bytes:
                self._rewrite()
                return
            self._needs_rewrite = True  # until the line is on stable storage
            self._append({"commit": {**changes, "etag": etag, "revision": revision, "complete": complete}})
            self._fdatasync()
            self._needs_rewrite = False
        except OSError:
            self.etag, self.complete = None, False  # not applied: the whole set is requested again
            raise

    @property
    def exists(self) -> bool:
        """True if an earlier run used this STATE_DIR."""
        return self._path.exists()

    def adopt_template(self, files: Mapping[str, FileRecord]) -> None:
        """Record the template's files that are in the workspace before the first set."""
        self.template = dict(files)
        self._rewrite()

    def totals_without(self, paths: AbstractSet[str]) -> tuple[int, int]:
        """The number of managed files and their bytes, not counting those at `paths`."""
        without = self.files.keys() & paths
        size = sum(record.size for record in self.files.values()) - sum(self.files[path].size for path in without)
        return len(self.files) - len(without), size

    def close(self) -> None:
        """Mark the journal as closed cleanly. Idempotent."""
        if self._file is None:
            return
        try:
            if self._needs_rewrite:
                self._rewrite()
            self._append({"closed": True})
            self._fdatasync()
        finally:
            os.close(self._file)
            self._file = None

    def _apply_commit(self, changes: Mapping[str, Any]) -> None:
        files, template = _records(changes["files"]), _records(changes.get("template", {}))
        for path in (*changes["removed"], *template):
            self.files.pop(path, None)
        for path in (*changes["removed"], *files):
            self.template.pop(path, None)
        self.files |= files
        self.template |= template

    def _fdatasync(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._file is None:
            raise ValueError("the manifest is closed")
        line = _line(record)
        end = self._first_line_bytes + self._appended_bytes
        try:
            _write(self._file, line)
        except OSError:
            self._needs_rewrite = True  # half a line may be left
            os.ftruncate(self._file, end)
            raise
        self._appended_bytes += len(line)

    def _rewrite(self) -> None:
        """Write the complete state as the first line of a new journal, and rename it over the old one."""
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
        lines = _line(state) + (_line(_begin_line(self.intent)) if self.intent is not None else b"")
        fresh = self._path.with_suffix(".new")
        self._needs_rewrite = True  # until all of it succeeded
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND, 0o600)
        try:
            _write(file, lines)
            os.fsync(file)
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            raise
        old, self._file, self._appended_bytes, self._first_line_bytes = self._file, file, 0, len(lines)
        if old is not None:
            os.close(old)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._needs_rewrite = False

    def _replay(self, journal: bytes) -> None:
        lines = journal.split(b"\n")
        if lines[-1]:  # a last line without a newline was interrupted by a kill, and was never valid
            self.unclean = True
        first = orjson.loads(lines[0])
        if first["v"] != 1:
            raise ValueError(f"it is of version {first['v']}")
        if first["app"] != self._app:
            raise ForeignState(first["app"])
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
                changes = entry["commit"]
                self._apply_commit(changes)
                self.etag, self.revision, self.complete = changes["etag"], changes["revision"], changes["complete"]
                self.intent = None
        self.unclean = self.unclean or not closed
        if first["api"] != self._api:  # tags and revisions of another backend do not apply to this one
            self.etag = self.revision = None


def _records(files: Mapping[str, Sequence[Any]]) -> dict[str, FileRecord]:
    return {path: FileRecord(*record) for path, record in files.items()}


def _line(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record, default=list, option=orjson.OPT_APPEND_NEWLINE)  # a named tuple is written as an array


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _begin_line(intent: Intent) -> Mapping[str, Any]:
    return {"begin": {"steps": intent.steps, "etag": intent.etag, "revision": intent.revision}}


def _intent(begin_entry: Mapping[str, Any]) -> Intent:
    return Intent(
        tuple(JournalStep(*step) for step in begin_entry["steps"]), begin_entry["etag"], begin_entry["revision"]
    )
