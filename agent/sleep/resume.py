"""Detects that this machine was stopped for a while, and triggers new connections in place of the dead ones.

Three causes look alike from inside and leave the same dead connections:
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
"""Of the wall clock against the monotonic clock. Slewing moves it by milliseconds between two readings."""

LATE_SECONDS = 5.0
"""Of a reading after its due time. A busy machine with a sixteenth of a core is late by one or two seconds."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one moment, in seconds."""

    wall: float
    monotonic: float


def stopped_seconds(before: ClockReading, now: ClockReading, *, due_after: float) -> float:
    """How long the machine was stopped at least; 0.0 if it was not. `due_after`: the interval between the readings."""
    passed = now.monotonic - before.monotonic
    jump = now.wall - before.wall - passed
    late = passed - due_after
    return max(jump if jump > JUMP_SECONDS else 0.0, late if late > LATE_SECONDS else 0.0)


READING_SECONDS = 1.0
REDIAL_SECONDS = 5.0
AFTER_SUSPEND = (3.0, 5.0, 8.0)
"""Seconds of running time after a suspend was granted. The freeze comes 2.2 to 4.2 s after the answer."""

log = structlog.get_logger()


class ResumeDetector:
    """Calls `resumed` for each stop that is certain, then `redial`, which has 5 s.

    A resumed snapshot stops both clocks alike, so it cannot be detected until the wall clock is corrected, which takes
    seconds. So after `suspending`, `redial` is also called at the times of AFTER_SUSPEND, without certainty.
    """

    def __init__(self, *, clock: Clock, redial: Callable[[], Awaitable[None]], resumed: Callable[[], None]) -> None:
        self._clock = clock
        self._redial = redial
        self._resumed = resumed
        self._expected: tuple[float, ...] = ()

    def suspending(self) -> None:
        """A suspend was granted: this machine freezes soon, and cannot see that it was frozen."""
        now = self._clock.monotonic()
        self._expected = tuple(now + seconds for seconds in AFTER_SUSPEND)

    async def run(self) -> None:
        """Check until cancelled."""
        before = self._read()
        while True:
            await asyncio.sleep(READING_SECONDS)
            now = self._read()
            seconds = stopped_seconds(before, now, due_after=READING_SECONDS)
            before = now
            if seconds:
                log.info("sleep.resumed", stopped_s=round(seconds, 1))
                self._resumed()
            if seconds or self._is_expected(now):
                await self._redial_connections()
                before = self._read()

    async def _redial_connections(self) -> None:
        try:
            async with asyncio.timeout(REDIAL_SECONDS):
                await self._redial()
        except TimeoutError:
            log.warning("sleep.redial_slow", given_up_after_s=REDIAL_SECONDS)

    def _is_expected(self, now: ClockReading) -> bool:
        later = tuple(moment for moment in self._expected if moment > now.monotonic)
        due, self._expected = len(later) < len(self._expected), later
        return due

    def _read(self) -> ClockReading:
        return ClockReading(self._clock.wall(), self._clock.monotonic())
