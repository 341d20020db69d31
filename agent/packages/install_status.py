"""The published state of the installations: facts, progress, and the problems of the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agent.clock import Clock
from agent.packages.toolchain import Manager
from agent.status import InstallFacts, Problem, Source

PROGRESS_SECONDS: Final = 0.25


class InstallStatus:
    def __init__(
        self,
        clock: Clock,
        publish: Callable[[InstallFacts], None],
        publish_problems: Callable[[Source, tuple[Problem, ...]], None],
    ) -> None:
        self.facts = InstallFacts()
        self.problems: tuple[Problem, ...] = ()
        self._clock = clock
        self._publish = publish
        self._publish_problems = publish_problems
        self._progress_at = 0.0

    def progress(self, text: str) -> None:
        """Publish how far the current run is, at most every PROGRESS_SECONDS."""
        now = self._clock.monotonic()
        if now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            self.set_facts(replace(self.facts, progress=text))

    def success(self, notes: tuple[Problem, ...]) -> None:
        """node_modules matches what is wanted, or nothing is."""
        self.set_facts(replace(self.facts, state="idle", progress=None, reason=None, blocks=False))
        self.set_problems(notes)

    def failure(
        self,
        problem: Problem,
        *,
        blocks: bool,
        manager: Manager | None = None,
        seconds: float | None = None,
        notes: tuple[Problem, ...] = (),
    ) -> None:
        """`blocks`: no usable node_modules is left that the dev server could start with."""
        self.set_facts(
            replace(
                self.facts,
                state="failed",
                progress=None,
                reason=problem.message,
                seconds=None if seconds is None else round(seconds, 3),
                manager=manager,
                blocks=blocks,
            )
        )
        self.set_problems((problem, *notes))

    def set_facts(self, facts: InstallFacts) -> None:
        self.facts = facts
        self._publish(facts)

    def set_problems(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        self._publish_problems("install", problems)
