"""The newest status snapshot, and a way to wait for a newer one. Each room replaces its own part of it.

Invariants: a snapshot is never changed, only replaced; equal ones wake nobody. Only for the event loop's own thread.

What must not live here: what follows from the facts (status.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from agent.app_paths import in_every_text
from agent.status import DevServerFacts, FileFacts, IdleFacts, InstallFacts, Problem, Snapshot, Source, SyncFacts


class StatusBoard:
    """Holds the newest snapshot, and wakes every task that waits for a newer one."""

    def __init__(self, first: Snapshot, shorten: Callable[[str], str] = str) -> None:
        """`shorten` takes the machine's paths out of a text: most of what is told here came from other programs."""
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
        """Replace all problems of one source; an empty tuple says that they are mended."""
        self._problems[source] = tuple(in_every_text(problem, self.shorten) for problem in problems)
        self._set(replace(self.snapshot, problems=self._in_order()))

    def files(self, facts: FileFacts) -> None:
        """What is broken or faulty in them is among the problems too."""
        told = in_every_text(facts, self.shorten)
        self._faults = (*told.broken, *told.faulty)
        self._set(replace(self.snapshot, broken=told.broken, notes=told.notes, problems=self._in_order()))

    def sleeping(self) -> None:
        self._set(replace(self.snapshot, sleeping=True))

    def awake(self) -> None:
        """It was called back, or woke up."""
        self._set(replace(self.snapshot, sleeping=False))

    def stopping(self) -> None:
        self._set(replace(self.snapshot, stopping=True))

    async def newer(self, seen: Snapshot) -> Snapshot:
        """Return the newest snapshot as soon as it differs from `seen`. Snapshots in between are skipped."""
        while self.snapshot == seen:
            await self._changed.wait()
        return self.snapshot

    def _in_order(self) -> tuple[Problem, ...]:
        """The root cause first: what a failed installation breaks is told after it."""
        told = [problem for of in self._problems.values() for problem in of]
        places = {(problem.file, problem.line) for problem in told if problem.line is not None}
        told += (problem for problem in self._faults if (problem.file, problem.line) not in places)
        return tuple(sorted(told, key=lambda problem: (problem.level == "warning", _ORDER.index(problem.source))))

    def _set(self, snapshot: Snapshot) -> None:
        if snapshot == self.snapshot:
            return
        self.snapshot = snapshot
        self._changed.set()
        self._changed = asyncio.Event()


_ORDER: tuple[Source, ...] = ("install", "sync", "dev_server", "compile", "runtime")
