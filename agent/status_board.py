"""Holds the newest status snapshot, of which each room replaces its own part, and lets tasks wait for a newer one.

Invariants: a snapshot is never changed, only replaced; an equal one wakes no task. Not thread-safe.

What must not live here: conclusions from the facts (status.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from agent.app_paths import in_every_text
from agent.status import DevServerFacts, FileFacts, IdleFacts, InstallFacts, Problem, Snapshot, Source, SyncFacts


class StatusBoard:
    def __init__(self, first: Snapshot, shorten: Callable[[str], str] = str) -> None:
        """`shorten` makes paths in a text relative to the app: many texts come from other programs."""
        self.snapshot = first
        self.shorten = shorten
        self._problems: dict[Source, tuple[Problem, ...]] = {}
        self._faults: tuple[Problem, ...] = ()
        self._changed = asyncio.Event()

    def sync(self, facts: SyncFacts) -> None:
        self._set(replace(self.snapshot, sync=in_every_text(facts, self.shorten)))

    def dev_server(self, facts: DevServerFacts) -> None:
        self._set(replace(self.snapshot, dev_server=in_every_text(facts, self.shorten)))

    def idle(self, facts: IdleFacts) -> None:
        self._set(replace(self.snapshot, idle=facts))

    def install(self, facts: InstallFacts) -> None:
        self._set(replace(self.snapshot, install=in_every_text(facts, self.shorten)))

    def problems(self, source: Source, problems: tuple[Problem, ...]) -> None:
        """Replace all problems of one source; an empty tuple if they are solved."""
        self._problems[source] = tuple(in_every_text(problem, self.shorten) for problem in problems)
        self._set(replace(self.snapshot, problems=self._in_order()))

    def files(self, facts: FileFacts) -> None:
        """Replace the facts about the app's files. Broken and faulty files are listed among the problems too."""
        shortened = in_every_text(facts, self.shorten)
        self._faults = (*shortened.broken, *shortened.faulty)
        self._set(replace(self.snapshot, broken=shortened.broken, notes=shortened.notes, problems=self._in_order()))

    def sleeping(self) -> None:
        self._set(replace(self.snapshot, sleeping=True))

    def awake(self) -> None:
        """The sleep was cancelled, or the machine woke up."""
        self._set(replace(self.snapshot, sleeping=False))

    def stopping(self) -> None:
        self._set(replace(self.snapshot, stopping=True))

    async def newer(self, seen: Snapshot) -> Snapshot:
        """Return the newest snapshot as soon as it differs from `seen`. Snapshots in between are skipped."""
        while self.snapshot == seen:
            await self._changed.wait()
        return self.snapshot

    def _in_order(self) -> tuple[Problem, ...]:
        """All problems, the root cause first: errors that a failed installation causes come after it."""
        problems = [problem for each in self._problems.values() for problem in each]
        places = {(problem.file, problem.line) for problem in problems if problem.line is not None}
        problems += (problem for problem in self._faults if (problem.file, problem.line) not in places)
        return tuple(sorted(problems, key=lambda problem: (problem.level == "warning", _ORDER.index(problem.source))))

    def _set(self, snapshot: Snapshot) -> None:
        if snapshot == self.snapshot:
            return
        self.snapshot = snapshot
        self._changed.set()
        self._changed = asyncio.Event()


_ORDER: tuple[Source, ...] = ("install", "sync", "dev_server", "compile", "runtime")
