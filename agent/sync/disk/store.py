"""Keeps workspace, staging folder and manifest of one app consistent.

A set is applied in four steps: stage all of it; journal the steps to do; do them in one burst; journal the result on
stable storage. Only the last step makes it count as applied. After a kill at any point `open` finishes the burst from
journal and staging folder, or drops the tag, so that the set is requested again.

Everything here blocks and is called on one thread (disk_thread.py): calls never overlap, and a call that has started
finishes even if the awaiting task is cancelled.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.errors import ConfigError, DiskError
from agent.paths import shown
from agent.sync.disk.apply import Burst
from agent.sync.disk.journal import ForeignState, Intent, JournalStep, Manifest
from agent.sync.disk.staging import Owner, Stage, StagedWriter
from agent.sync.disk.workspace_tree import Obstacle, Tree
from agent.sync.plan import Folder, Operation, Put, Remove, with_template
from agent.sync.template import stand_ins
from agent.sync.template_files import TemplateFiles

KEPT_CONFLICTS = 100
"""Replaced edits of this many bursts are kept; older ones are deleted."""

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a burst did."""

    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """(path, the end of a sentence), shown as problems."""
    unfinished: tuple[str, str] | None = None
    """The first note of a step that may succeed later; then the whole set is requested again."""


class Transaction(NamedTuple):
    """A burst that was journaled and is not committed yet."""

    intent: Intent
    burst: Burst


class Disk:
    def __init__(
        self,
        *,
        workspace: Path,
        state_dir: Path,
        app: str,
        api: str,
        stamp: Callable[[], str],
        owner: Owner | None = None,
    ) -> None:
        """`stamp` returns the name of a burst's folder for replaced edits: sortable, and valid as a file name.
        `owner`: the owner of the workspace, if that is not the agent's own user.
        """
        self._workspace = workspace
        self._state_dir = state_dir
        self._conflicts = state_dir / "conflicts"
        self._stamp = stamp
        self._owner = owner
        self._stage: Stage | None = None
        self._template = TemplateFiles(state_dir)
        self.manifest = Manifest(state_dir / "manifest.jsonl", app=app, api=api)

    @property
    def stage(self) -> Stage:
        if self._stage is None:
            raise DiskError("the disk store is not open")
        return self._stage

    def open(self) -> Outcome:
        """Prepare the folders, and finish a burst that an earlier run left.

        Raises ConfigError for a workspace or state folder that cannot be used, with what to do about it.
        """
        try:
            for own in (self._state_dir / "staging", self._conflicts):
                if self._workspace.is_relative_to(own):
                    raise ConfigError(f"WORKSPACE is {str(self._workspace)!r} (it takes a folder outside of {own})")
            self._workspace.mkdir(parents=True, exist_ok=True)
            if self._owner is not None:
                with Tree(self._workspace, self._owner) as tree:
                    tree.give_root_to_owner()
            self._stage = Stage(self._state_dir / "staging", self._owner)
            if self._workspace.stat().st_dev != self._state_dir.stat().st_dev:
                raise ConfigError(
                    f"STATE_DIR is {str(self._state_dir)!r} (it takes a folder on the filesystem of WORKSPACE,"
                    f" {str(self._workspace)!r}: a file is moved in by one rename)"
                )
            with Tree(self._workspace, self._owner) as tree:
                template = self._template.open(tree, first=not self.manifest.exists)
            self.manifest.open()  # only now, so that after a kill in between the next start copies the template
            if template and not self.manifest.files:
                self.manifest.adopt_template(template)
        except (OSError, Obstacle) as error:
            raise ConfigError(f"WORKSPACE or STATE_DIR cannot be used: {error}") from error
        except ForeignState as owner:
            raise ConfigError(
                f"STATE_DIR is {str(self._state_dir)!r} (it takes a folder of its own for each app;"
                f" this one belongs to {shown(str(owner))!r})"
            ) from None
        try:
            with self._as_disk_errors():
                return self._finish_last_burst()
        except DiskError as error:
            self.manifest.etag, self.manifest.complete = None, False
            return Outcome(unfinished=("the last set", f"could not be finished: {error}"))

    def _finish_last_burst(self) -> Outcome:
        outcome = Outcome()
        if self.manifest.intent is not None:
            for step in self.manifest.intent.steps:
                if step.kind == "put":
                    self.stage.drop_unless(step.name, step.sha256)
            outcome = self._commit(Transaction(self.manifest.intent, self._burst(self.manifest.intent)))
        self.stage.clear()
        return outcome

    def find_stale(self, *, read: bool) -> frozenset[str]:
        """The managed files whose bytes on disk are no longer the agent's. `read`: hash every file."""
        stale = set()
        with self._tree() as tree:
            for path, known in self.manifest.files.items():
                record = tree.verify(path, known, read=read)
                if record is None:
                    stale.add(path)
                elif record != known:  # another program wrote the same bytes again
                    self.manifest.files[path] = record
        return frozenset(stale)

    def stage_bytes(self, sha256: str, data: bytes) -> None:
        """Stage `data`, whose hash was checked."""
        if self.stage.has(sha256):
            return
        with self._as_disk_errors():
            self.stage.add(sha256, data)

    def open_writer(self, sha256: str) -> StagedWriter:
        """A writer for `write_piece` and `finish_writer`. Call its `abandon` in any case. Does not block."""
        return self.stage.open_writer(sha256)

    def write_piece(self, writer: StagedWriter, piece: bytes) -> None:
        with self._as_disk_errors():
            writer.write(piece)

    def finish_writer(self, writer: StagedWriter) -> bool:
        """Stage the file if its hash matches. Returns whether it does."""
        with self._as_disk_errors():
            return writer.finish()

    def stage_from_disk(self, wanted: Iterable[Put]) -> tuple[Put, ...]:
        """Stage those of `wanted` whose bytes are already on disk, under any path. Returns the others."""
        missing = {put.sha256: put for put in wanted if not self.stage.has(put.sha256)}
        if not missing:
            return ()
        holders = {record.sha256: path for path, record in self.manifest.files.items() if record.sha256 in missing}
        with self._tree() as tree, self._as_disk_errors():
            if missing.keys() - holders.keys():
                holders = tree.find_by_sizes(frozenset(put.size for put in missing.values())) | holders
            for sha256 in missing.keys() & holders.keys():
                with suppress(Obstacle), os.fdopen(tree.open(holders[sha256]), "rb") as source:
                    self._copy(source, missing[sha256])
        return tuple(put for put in missing.values() if not self.stage.has(put.sha256))

    def _copy(self, source: BinaryIO, wanted: Put) -> None:
        """Stage `source` if it has the wanted bytes. The app may have replaced it by an endless file meanwhile."""
        copy = self.stage.open_writer(wanted.sha256)
        try:
            while copy.size <= wanted.size and (chunk := source.read(_CHUNK)):
                copy.write(chunk)
            copy.finish()
        finally:
            copy.abandon()

    def with_template(self, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        """`operations`, completed by those on the template's files that follow from them. Stages their bytes."""
        if not self._template.hashes:
            return operations
        app = set(self.manifest.files)
        app -= {operation.path for operation in operations if isinstance(operation, Remove)}
        app |= {operation.path for operation in operations if isinstance(operation, Put)}
        placed = self.manifest.template.keys()
        wanted = {}
        for target, source in stand_ins(self._template.hashes.keys(), app).items():
            wanted[target] = Put(target, self._template.hashes[source], 0, template=True)
            if target not in placed:
                with self._as_disk_errors():
                    data = self._template.read(source)
                self.stage_bytes(wanted[target].sha256, data)
        return with_template(operations, placed=placed, wanted=wanted)

    def read_staged(self, sha256: str) -> bytes:
        with self._as_disk_errors():
            return self.stage.read(sha256)

    def apply(self, operations: tuple[Operation, ...], *, etag: str | None, revision: int | None) -> Outcome:
        """Apply `operations`, whose bytes are all staged. Raises DiskError if the set does not count as applied."""
        return self.complete(self.begin(operations, 0, etag=etag, revision=revision))

    def begin(
        self, operations: tuple[Operation, ...], first: int, *, etag: str | None, revision: int | None
    ) -> Transaction:
        """Journal all `operations` and do the `first` ones. `complete` does the others, or the next start if it is
        never called. Nothing else may be applied in between.
        """
        with self._as_disk_errors():
            intent = Intent(self._steps(operations), etag, revision)
            if operations:
                self.manifest.begin(intent)
            burst = self._burst(intent)
            if first:
                with self._tree() as tree:
                    burst.run(tree, first)
        return Transaction(intent, burst)

    def complete(self, transaction: Transaction) -> Outcome:
        """Do the remaining steps and commit. Raises DiskError if the set does not count as applied."""
        with self._as_disk_errors():
            outcome = self._commit(transaction)
            self.stage.clear()
        return outcome

    def close(self) -> None:
        """Close cleanly, so that the next start can trust the manifest and need not rehash every file. Idempotent.
        Raises DiskError if that could not be recorded.
        """
        try:
            with self._as_disk_errors():
                self.manifest.close()
        finally:
            if self._stage is not None:
                self._stage.close()

    def _tree(self) -> Tree:
        try:
            return Tree(self._workspace, self._owner)
        except OSError as error:
            raise DiskError(f"the workspace {self._workspace} cannot be opened: {error.strerror}") from error

    def _steps(self, operations: tuple[Operation, ...]) -> tuple[JournalStep, ...]:
        uses = Counter(operation.sha256 for operation in operations if isinstance(operation, Put))
        steps = []
        for index, operation in enumerate(operations):
            match operation:
                case Put(path, sha256, _, template):
                    uses[sha256] -= 1
                    name = self.stage.name_to_rename(sha256, index, again=uses[sha256] > 0)
                    steps.append(JournalStep("put", path, sha256, name, template))
                case Folder(path):
                    steps.append(JournalStep("folder", path))
                case Remove(path):
                    steps.append(JournalStep("remove", path))
        return tuple(steps)

    def _burst(self, intent: Intent) -> Burst:
        stamp = self._stamp()
        aside = next(place for n in count() if not (place := self._conflicts / f"{stamp}{f'-{n}' * (n > 0)}").exists())
        return Burst(intent.steps, self.stage, self.manifest, aside)

    def _commit(self, transaction: Transaction) -> Outcome:
        intent, burst = transaction.intent, transaction.burst
        with self._tree() as tree:
            burst.run(tree)
        whole = burst.unfinished is None
        try:
            self.manifest.commit(
                burst.records,
                burst.removed,
                template=burst.template,
                etag=intent.etag if whole else None,
                revision=intent.revision if whole else self.manifest.revision,
                complete=whole,
            )
        except OSError as error:  # the files are written, so the outcome is still reported
            burst.unfinished = ("the manifest in STATE_DIR", f"could not be written: {error.strerror or error}")
        if burst.aside.exists():
            self._drop_old_conflicts()
        return Outcome(tuple(burst.written), tuple(burst.removed), tuple(burst.notes), burst.unfinished)

    def _drop_old_conflicts(self) -> None:
        with suppress(OSError):  # the set is on disk; old copies can be deleted next time
            for old in sorted(self._conflicts.iterdir())[:-KEPT_CONFLICTS]:
                shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _as_disk_errors(self) -> Iterator[None]:
        """Convert an OSError to a DiskError. If the disk is full, the staging folder is cleared: the next set may be
        smaller, and the dev server needs space too.
        """
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            if full and self._stage is not None:
                with suppress(OSError):
                    self._stage.clear()
            message = f"STATE_DIR ({self._state_dir}) could not be written: {error.strerror or error}"
            raise DiskError(message, full=full) from error
