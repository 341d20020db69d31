"""Notices that this machine stood still and goes on, and has what is dead since then made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.clock import Clock
from agent.sleep.gap import Look, stood_still

LOOK_SECONDS = 1.0
REDIAL_SECONDS = 5.0

log = structlog.get_logger()


class Resume:
    """`on_resume` may be called once too often, never too seldom; it has 5 s."""

    def __init__(self, *, clock: Clock, on_resume: Callable[[], Awaitable[None]]) -> None:
        self._clock = clock
        self._on_resume = on_resume

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
                await self._resumed()
                before = self._look()

    async def _resumed(self) -> None:
        try:
            async with asyncio.timeout(REDIAL_SECONDS):
                await self._on_resume()
        except TimeoutError:
            log.warning("sleep.resume_slow", given_up_after_s=REDIAL_SECONDS)

    def _look(self) -> Look:
        return Look(self._clock.wall(), self._clock.monotonic())
