"""The disk's side of the room: workspace, stage and manifest of one app, kept in agreement.

A set becomes true in four steps: stage it whole; journal what will be done; do it in one burst; journal what was done,
on stable storage. Only the last makes it count as applied. After a kill at any point `open` finishes the burst from
journal and stage, or drops the tag, so that the set is asked for again.

Everything here blocks and belongs on one thread, the room's own: calls never overlap, and one that has begun ends,
whatever becomes of the task that waits for it.
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
from agent.sync.disk.journal import Foreign, Intent, Manifest, Step
from agent.sync.disk.staging import Owner, Receiver, Stage
from agent.sync.disk.workspace_tree import Obstacle, Tree
from agent.sync.plan import Folder, Operation, Put, Remove, with_template
from agent.sync.template import stand_ins
from agent.sync.template_files import TemplateFiles

KEPT_CONFLICTS = 100
"""Bursts whose replaced edits are kept; older ones make room."""

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a burst did. `notes`: (path, the end of a sentence) for each path that its owner should know of.
    `unfinished` is the first of them that may go through later: then the set is to be asked for again, whole.
    """

    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    unfinished: tuple[str, str] | None = None


class Undertaking(NamedTuple):
    """A burst that was begun."""

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
        """`stamp` names a burst, for the folder that keeps what it replaced: sortable text, fit for a file name.
        `owner`: whose the workspace is, where that is not the agent's own user.
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
            raise DiskError("the staging folder is not open")
        return self._stage

    def open(self) -> Outcome:
        """Make ready, and finish what an earlier life left undone.

        Raises ConfigError for a workspace or state folder that cannot serve; it says what to do about it.
        """
        try:
            for own in (self._state_dir / "staging", self._conflicts):
                if self._workspace.is_relative_to(own):
                    raise ConfigError(f"WORKSPACE is {str(self._workspace)!r} (it takes a folder outside of {own})")
            self._workspace.mkdir(parents=True, exist_ok=True)
            if self._owner is not None:
                with Tree(self._workspace, self._owner) as tree:
                    tree.own()
            self._stage = Stage(self._state_dir / "staging", self._owner)
            if self._workspace.stat().st_dev != self._state_dir.stat().st_dev:
                raise ConfigError(
                    f"STATE_DIR is {str(self._state_dir)!r} (it takes a folder on the filesystem of WORKSPACE,"
                    f" {str(self._workspace)!r}: a file is moved in by one rename)"
                )
            with Tree(self._workspace, self._owner) as tree:
                template = self._template.open(tree, first=not self.manifest.exists)
            self.manifest.open()  # only now, so that a kill in between leaves the template to the next start
            if template and not self.manifest.files:
                self.manifest.adopt_template(template)
        except (OSError, Obstacle) as error:
            raise ConfigError(f"WORKSPACE or STATE_DIR cannot be used: {error}") from error
        except Foreign as owner:
            raise ConfigError(
                f"STATE_DIR is {str(self._state_dir)!r} (it takes a folder of its own for each app;"
                f" this one belongs to {shown(str(owner))!r})"
            ) from None
        try:
            with self._state_errors():
                return self._finish()
        except DiskError as error:
            self.manifest.etag, self.manifest.complete = None, False
            return Outcome(unfinished=("the last set", f"could not be finished: {error}"))

    def _finish(self) -> Outcome:
        outcome = Outcome()
        if self.manifest.intent is not None:
            for step in self.manifest.intent.steps:
                if step.kind == "put":
                    self.stage.drop_unless(step.name, step.sha256)
            outcome = self._commit(Undertaking(self.manifest.intent, self._burst(self.manifest.intent)))
        self.stage.clear()
        return outcome

    def stale(self, *, read: bool) -> frozenset[str]:
        """The managed files whose bytes on the disk are not the agent's any more. `read`: hash every one."""
        stale = set()
        with self._tree() as tree:
            for path, known in self.manifest.files.items():
                record = tree.look(path, known, read=read)
                if record is None:
                    stale.add(path)
                elif record != known:  # the same bytes, written anew by somebody
                    self.manifest.files[path] = record
        return frozenset(stale)

    def keep(self, sha256: str, data: bytes) -> None:
        """Stage `data`, whose hash was checked."""
        if self.stage.has(sha256):
            return
        with self._state_errors():
            self.stage.add(sha256, data)

    def receive(self, sha256: str) -> Receiver:
        """Bytes that come in pieces: `feed` them, `finish`, and `abandon` the receiver in any case. Does not block."""
        return self.stage.receive(sha256)

    def feed(self, receiver: Receiver, piece: bytes) -> None:
        with self._state_errors():
            receiver.write(piece)

    def finish(self, receiver: Receiver) -> bool:
        with self._state_errors():
            return receiver.finish()

    def find(self, wanted: Iterable[Put]) -> tuple[Put, ...]:
        """Stage what the disk already holds of `wanted`, under any path; those whose bytes it does not hold."""
        missing = {put.sha256: put for put in wanted if not self.stage.has(put.sha256)}
        if not missing:
            return ()
        holders = {record.sha256: path for path, record in self.manifest.files.items() if record.sha256 in missing}
        with self._tree() as tree, self._state_errors():
            if missing.keys() - holders.keys():
                holders = tree.find(frozenset(put.size for put in missing.values())) | holders
            for sha256 in missing.keys() & holders.keys():
                with suppress(Obstacle), os.fdopen(tree.open(holders[sha256]), "rb") as source:
                    self._copy(source, missing[sha256])
        return tuple(put for put in missing.values() if not self.stage.has(put.sha256))

    def _copy(self, source: BinaryIO, wanted: Put) -> None:
        """Stage `source` if it is the wanted bytes. It may be somebody's endless file by now."""
        copy = self.stage.receive(wanted.sha256)
        try:
            while copy.size <= wanted.size and (chunk := source.read(_CHUNK)):
                copy.write(chunk)
            copy.finish()
        finally:
            copy.abandon()

    def with_template(self, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        """`operations` of a set, and those of the template's files that follow from it; their bytes are staged."""
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
                with self._state_errors():
                    data = self._template.read(source)
                self.keep(wanted[target].sha256, data)
        return with_template(operations, placed=placed, wanted=wanted)

    def staged(self, sha256: str) -> bytes:
        """Bytes that are staged."""
        with self._state_errors():
            return self.stage.read(sha256)

    def apply(self, operations: tuple[Operation, ...], *, etag: str | None, revision: int | None) -> Outcome:
        """Do `operations`, whose bytes are all staged. Raises DiskError when the set does not count as applied."""
        return self.complete(self.begin(operations, 0, etag=etag, revision=revision))

    def begin(
        self, operations: tuple[Operation, ...], ahead: int, *, etag: str | None, revision: int | None
    ) -> Undertaking:
        """Do the first `ahead` of `operations`, and journal all of them: the rest is for `complete`, or, where that is
        never called, for the next start. Nothing else is to be applied in between.
        """
        with self._state_errors():
            intent = Intent(self._steps(operations), etag, revision)
            if operations:
                self.manifest.begin(intent)
            burst = self._burst(intent)
            if ahead:
                with self._tree() as tree:
                    burst.do(tree, ahead)
        return Undertaking(intent, burst)

    def complete(self, undertaking: Undertaking) -> Outcome:
        """Do what is left of it. Raises DiskError when the set does not count as applied."""
        with self._state_errors():
            outcome = self._commit(undertaking)
            self.stage.clear()
        return outcome

    def close(self) -> None:
        """End this life in order, so that the next one may believe the manifest. Idempotent. Raises DiskError when that
        could not be written down: the next start reads every file.
        """
        try:
            with self._state_errors():
                self.manifest.close()
        finally:
            if self._stage is not None:
                self._stage.close()

    def _tree(self) -> Tree:
        try:
            return Tree(self._workspace, self._owner)
        except OSError as error:
            raise DiskError(f"the workspace {self._workspace} cannot be opened: {error.strerror}") from error

    def _steps(self, operations: tuple[Operation, ...]) -> tuple[Step, ...]:
        uses = Counter(operation.sha256 for operation in operations if isinstance(operation, Put))
        steps = []
        for place, operation in enumerate(operations):
            match operation:
                case Put(path, sha256, _, template):
                    uses[sha256] -= 1
                    name = self.stage.take(sha256, place, again=uses[sha256] > 0)
                    steps.append(Step("put", path, sha256, name, template))
                case Folder(path):
                    steps.append(Step("folder", path))
                case Remove(path):
                    steps.append(Step("remove", path))
        return tuple(steps)

    def _burst(self, intent: Intent) -> Burst:
        stamp = self._stamp()
        aside = next(place for n in count() if not (place := self._conflicts / f"{stamp}{f'-{n}' * (n > 0)}").exists())
        return Burst(intent.steps, self.stage, self.manifest, aside)

    def _commit(self, undertaking: Undertaking) -> Outcome:
        intent, burst = undertaking.intent, undertaking.burst
        with self._tree() as tree:
            burst.do(tree)
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
        except OSError as error:  # what was done is done, and its owner hears of it
            burst.unfinished = ("the manifest in STATE_DIR", f"could not be written: {error.strerror or error}")
        if burst.aside.exists():
            self._make_room()
        return Outcome(tuple(burst.written), tuple(burst.removed), tuple(burst.notes), burst.unfinished)

    def _make_room(self) -> None:
        with suppress(OSError):  # the set is on disk; old copies can go another time
            for old in sorted(self._conflicts.iterdir())[:-KEPT_CONFLICTS]:
                shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _state_errors(self) -> Iterator[None]:
        """The system's word about STATE_DIR as a DiskError. On a full disk, what is staged makes room: the next set may
        be a smaller one, and the dev server needs to write too.
        """
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            if full and self._stage is not None:
                with suppress(OSError):
                    self._stage.clear()
            message = f"STATE_DIR ({self._state_dir}) refused a write: {error.strerror or error}"
            raise DiskError(message, full=full) from error
