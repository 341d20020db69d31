"""The steps of one burst, done one after the other in an open workspace, and what became true of each.

A step that meets an obstacle is noted and the rest goes on. Doing a burst again after it was cut short gives the same
end: what is there already is left untouched, what is gone already stays gone.
"""

from __future__ import annotations

from pathlib import Path

from agent.sync.manifest import Manifest, Record, Step
from agent.sync.paths import overlapping
from agent.sync.stage import Stage
from agent.sync.tree import Obstacle, Tree


class Burst:
    """`records`: path → what the file is now. `written`, `removed`: the paths in the order they were done.
    `notes`: (path, the end of a sentence) for its owner. `unfinished`: the first of them that may go through later.
    """

    def __init__(self, steps: tuple[Step, ...], tree: Tree, stage: Stage, manifest: Manifest, aside: Path) -> None:
        self._arriving = frozenset(step.path for step in steps if step.kind == "put")
        self._tree = tree
        self._stage = stage
        self._manifest = manifest
        self._aside = aside
        self.records: dict[str, Record] = {}
        self.written: list[str] = []
        self.removed: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.unfinished: tuple[str, str] | None = None

    def do(self, step: Step) -> None:
        """Never raises an OSError: a burst goes on to its end, and what was done of it is known."""
        try:
            match step.kind:
                case "folder":
                    self._tree.make_folder(step.path)
                case "put":
                    self._put(step)
                case "remove":
                    self._remove(step)
        except Obstacle as obstacle:
            self._stopped(step.path, str(obstacle), passing=obstacle.passing)
        except OSError as error:
            self._stopped(step.path, f"could not be written: {error.strerror or error}", passing=True)

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
        if step.path not in overlapping({step.path} | self._arriving if note else ()):
            self._note(step.path, note)  # else it is this burst's own that stands there, from before it was cut short

    def _stopped(self, path: str, why: str, *, passing: bool) -> None:
        self.notes.append((path, why))
        if passing and self.unfinished is None:
            self.unfinished = (path, why)

    def _note(self, path: str, note: str | None) -> None:
        if note is not None:
            self.notes.append((path, note))
