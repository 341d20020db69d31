"""Detects that this machine was stopped for a while, and has connections that died meanwhile made anew.

Three causes look alike from inside, and leave the same dead connections behind:
  - a resumed snapshot: both clocks stopped; the wall clock jumps once the network corrects it,
  - a laptop that slept: the monotonic clock stopped, the wall clock went on,
  - a stopped process or a host that gave no CPU time: both clocks went on, and the timer fired far too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from agent.clock import Clock

JUMP_SECONDS = 5.0
"""The wall clock against the monotonic one. A clock that is slewed gains some milliseconds between two looks."""

LATE_SECONDS = 5.0
"""Beyond when the look was due. A busy machine with a sixteenth of a core is late by one or two."""


@dataclass(frozen=True, slots=True)
class Look:
    """Both clocks at one moment, in seconds."""

    wall: float
    monotonic: float


def stood_still(before: Look, now: Look, *, due_after: float) -> float:
    """For how many seconds, at least; 0.0 when it did not. `due_after`: when the second look was to come."""
    passed = now.monotonic - before.monotonic
    jump = now.wall - before.wall - passed
    late = passed - due_after
    return max(jump if jump > JUMP_SECONDS else 0.0, late if late > LATE_SECONDS else 0.0)


LOOK_SECONDS = 1.0
REDIAL_SECONDS = 5.0
AFTER_SUSPEND = (3.0, 5.0, 8.0)
"""Seconds of running time after a snapshot was asked for. The freeze comes 2.2 to 4.2 s after the answer."""

log = structlog.get_logger()


class Resume:
    """`resumed` hears of each time that is certain, before `redial`, which has 5 s.

    A snapshot that is resumed stops both clocks alike, so that nothing tells of it until the wall clock is set, which
    takes seconds. Who asks for one says so with `suspending`; then `redial` is called without waiting for certainty.
    """

    def __init__(
        self, *, clock: Clock, redial: Callable[[], Awaitable[None]], resumed: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._redial = redial
        self._resumed = resumed
        self._expected: tuple[float, ...] = ()

    def suspending(self) -> None:
        """A snapshot was asked for and granted: this machine freezes soon, and goes on as if nothing had been."""
        now = self._clock.monotonic()
        self._expected = tuple(now + seconds for seconds in AFTER_SUSPEND)

    async def run(self) -> None:
        """Look until cancelled."""
        before = self._look()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._look()
            seconds = stood_still(before, now, due_after=LOOK_SECONDS)
            before = now
            if seconds:
                log.info("sleep.resumed", stood_still_s=round(seconds, 1))
                self._resumed()
            if seconds or self._is_expected(now):
                await self._dial()
                before = self._look()

    async def _dial(self) -> None:
        try:
            async with asyncio.timeout(REDIAL_SECONDS):
                await self._redial()
        except TimeoutError:
            log.warning("sleep.redial_slow", given_up_after_s=REDIAL_SECONDS)

    def _is_expected(self, now: Look) -> bool:
        later = tuple(moment for moment in self._expected if moment > now.monotonic)
        due, self._expected = len(later) < len(self._expected), later
        return due

    def _look(self) -> Look:
        return Look(self._clock.wall(), self._clock.monotonic())
