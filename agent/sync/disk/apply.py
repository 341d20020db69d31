"""The steps of one burst, done one after the other in an open workspace, and what became true of each.

A step that meets an obstacle is noted and the rest goes on. Doing a burst again after it was cut short gives the same
end: what is there already is left untouched, what is gone already stays gone.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from agent.paths import overlapping
from agent.sync.disk.journal import Manifest, Record, Step
from agent.sync.disk.staging import Stage
from agent.sync.disk.workspace_tree import Obstacle, Tree


class Burst:
    """`records`: path → what the file is now; `template`: the same of the template's files. `written`, `removed`: the
    paths in the order they were done.
    `notes`: (path, the end of a sentence) for its owner. `unfinished`: the first of them that may go through later.
    """

    def __init__(self, steps: tuple[Step, ...], stage: Stage, manifest: Manifest, aside: Path) -> None:
        self._left = deque(steps)
        self._arriving = frozenset(step.path for step in steps if step.kind == "put")
        self._stage = stage
        self._manifest = manifest
        self.aside = aside
        self.records: dict[str, Record] = {}
        self.template: dict[str, Record] = {}
        self.written: list[str] = []
        self.removed: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.unfinished: tuple[str, str] | None = None

    def do(self, tree: Tree, count: int | None = None) -> None:
        """Do the next `count` steps, or all that are left. Never raises an OSError: a burst goes on to its end, and
        what was done of it is known.
        """
        for _ in range(len(self._left) if count is None else count):
            self._do(tree, self._left.popleft())

    def _do(self, tree: Tree, step: Step) -> None:
        try:
            match step.kind:
                case "folder":
                    tree.make_folder(step.path)
                case "put":
                    self._put(tree, step)
                case "remove":
                    self._remove(tree, step)
        except Obstacle as obstacle:
            self._stopped(step.path, str(obstacle), passing=obstacle.passing)
        except OSError as error:
            self._stopped(step.path, f"could not be written: {error.strerror or error}", passing=True)

    def _put(self, tree: Tree, step: Step) -> None:
        try:
            new = self._stage.record(step.name, step.sha256)
        except FileNotFoundError:  # moved in before the burst was cut short, or lost with a power cut
            adopted = tree.adopt(step.path, step.sha256)
            if adopted is None:
                raise Obstacle("was not written: its staged bytes are gone", passing=True) from None
            self._records(step)[step.path] = adopted
            return
        known = self._known(step.path)
        done = tree.put(step.path, new, self._stage.folder, step.name, known=known, aside=self.aside)
        self._records(step)[step.path] = done.record
        if done.touched:
            self.written.append(step.path)
        self._note(step.path, done.note)

    def _records(self, step: Step) -> dict[str, Record]:
        return self.template if step.template else self.records

    def _known(self, path: str) -> Record | None:
        return self._manifest.files.get(path) or self._manifest.template.get(path)

    def _remove(self, tree: Tree, step: Step) -> None:
        known = self._known(step.path)
        note = tree.remove(step.path, known=known, aside=self.aside)
        self.removed.append(step.path)
        if step.path not in overlapping({step.path} | self._arriving if note else ()):
            self._note(step.path, note)  # else it is this burst's own that stands there, from before it was cut short

    def _stopped(self, path: str, why: str, *, passing: bool) -> None:
        self.notes.append((path, why))
        if passing and self.unfinished is None:
            self.unfinished = (path, why)

    def _note(self, path: str, note: str | None) -> None:
        if note is not None:
            self.notes.append((path, note))
