"""Runs the steps of one burst in an open workspace and records the result of each.

A burst is the sequence of renames and deletions that makes one set current. A step that fails is noted and the others
go on. Repeating an interrupted burst gives the same result: what is already in place is left untouched, and what is
already deleted stays deleted.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from agent.paths import overlapping
from agent.sync.disk.journal import FileRecord, JournalStep, Manifest
from agent.sync.disk.staging import Stage
from agent.sync.disk.workspace_tree import Obstacle, Tree


class Burst:
    def __init__(self, steps: tuple[JournalStep, ...], stage: Stage, manifest: Manifest, aside: Path) -> None:
        """`aside`: the folder that keeps edits which this burst replaces."""
        self._left = deque(steps)
        self._arriving = frozenset(step.path for step in steps if step.kind == "put")
        self._stage = stage
        self._manifest = manifest
        self.aside = aside
        self.records: dict[str, FileRecord] = {}
        """Path → the set's file that is there now."""
        self.template: dict[str, FileRecord] = {}
        """Path → the template's file that is there now."""
        self.written: list[str] = []
        self.removed: list[str] = []
        self.notes: list[tuple[str, str]] = []
        """(path, the end of a sentence), shown as problems."""
        self.unfinished: tuple[str, str] | None = None
        """The first note of a step that failed and may succeed later."""

    def run(self, tree: Tree, count: int | None = None) -> None:
        """Run the next `count` steps, or all that are left. Raises no OSError, so that a burst always runs to its end
        and the result of each step is known.
        """
        for _ in range(len(self._left) if count is None else count):
            self._run_step(tree, self._left.popleft())

    def _run_step(self, tree: Tree, step: JournalStep) -> None:
        try:
            match step.kind:
                case "folder":
                    tree.make_folder(step.path)
                case "put":
                    self._put(tree, step)
                case "remove":
                    self._remove(tree, step)
        except Obstacle as obstacle:
            self._note_obstacle(step.path, str(obstacle), transient=obstacle.transient)
        except OSError as error:
            self._note_obstacle(step.path, f"could not be written: {error.strerror or error}", transient=True)

    def _put(self, tree: Tree, step: JournalStep) -> None:
        try:
            new = self._stage.record(step.name, step.sha256)
        except FileNotFoundError:  # renamed into place before an interruption, or lost in a power failure
            in_place = tree.record_if_equal(step.path, step.sha256)
            if in_place is None:
                raise Obstacle("was not written: its staged bytes are gone", transient=True) from None
            self._records(step)[step.path] = in_place
            return
        known = self._known(step.path)
        result = tree.put(step.path, new, self._stage.folder, step.name, known=known, aside=self.aside)
        self._records(step)[step.path] = result.record
        if result.changed:
            self.written.append(step.path)
        self._note(step.path, result.note)

    def _records(self, step: JournalStep) -> dict[str, FileRecord]:
        return self.template if step.template else self.records

    def _known(self, path: str) -> FileRecord | None:
        return self._manifest.files.get(path) or self._manifest.template.get(path)

    def _remove(self, tree: Tree, step: JournalStep) -> None:
        known = self._known(step.path)
        note = tree.remove(step.path, known=known, aside=self.aside)
        self.removed.append(step.path)
        # On a repeated burst, the file or folder there may be one that the burst itself wrote before the interruption.
        if step.path not in overlapping({step.path} | self._arriving if note else ()):
            self._note(step.path, note)

    def _note_obstacle(self, path: str, why: str, *, transient: bool) -> None:
        self.notes.append((path, why))
        if transient and self.unfinished is None:
            self.unfinished = (path, why)

    def _note(self, path: str, note: str | None) -> None:
        if note is not None:
            self.notes.append((path, note))
