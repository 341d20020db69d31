"""Notices that this machine stood still and goes on, and has what is dead since then made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.clock import Clock
from agent.sleep.gap import Look, stood_still

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
