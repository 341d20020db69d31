"""The steps of one burst, done one after the other in an open workspace, and what became true of each.

A step that meets an obstacle is noted and the rest goes on. Doing a burst again after it was cut short gives the same
end: what is there already is left untouched, what is gone already stays gone.
"""

from __future__ import annotations

from pathlib import Path

from agent.sync.manifest import Manifest, Record, Step
from agent.sync.stage import Stage
from agent.sync.tree import Obstacle, Tree


class Burst:
    """`records`: path → what the file is now. `written`, `removed`: the paths in the order they were done.
    `notes`: (path, the end of a sentence) for its owner. `complete`: False when a step may go through later.
    """

    def __init__(self, tree: Tree, stage: Stage, manifest: Manifest, aside: Path) -> None:
        self._tree = tree
        self._stage = stage
        self._manifest = manifest
        self._aside = aside
        self.records: dict[str, Record] = {}
        self.written: list[str] = []
        self.removed: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.complete = True

    def do(self, step: Step) -> None:
        try:
            match step.kind:
                case "folder":
                    self._tree.make_folder(step.path)
                case "put":
                    self._put(step)
                case "remove":
                    self._remove(step)
        except Obstacle as obstacle:
            self.notes.append((step.path, str(obstacle)))
            self.complete = self.complete and not obstacle.passing

    def _put(self, step: Step) -> None:
        try:
            new = self._stage.record(step.name, step.sha256)
        except FileNotFoundError:  # moved in before the burst was cut short, or lost with a power cut
            adopted = self._tree.adopt(step.path, step.sha256)
            if adopted is None:
                raise Obstacle("was not written: its staged bytes are gone", passing=True) from None
            self.records[step.path] = adopted
            return
        known = self._manifest.files.get(step.path)
        done = self._tree.put(step.path, new, self._stage.folder, step.name, known=known, aside=self._aside)
        self.records[step.path] = done.record
        if done.touched:
            self.written.append(step.path)
        self._note(step.path, done.note)

    def _remove(self, step: Step) -> None:
        known = self._manifest.files.get(step.path)
        note = self._tree.remove(step.path, known=known, aside=self._aside)
        self.removed.append(step.path)
        self._note(step.path, note)

    def _note(self, path: str, note: str | None) -> None:
        if note is not None:
            self.notes.append((path, note))
