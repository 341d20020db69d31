"""The loop that lets the machine sleep: hears signs of life, watches the clock, hands over, and says when it is time.

`run` ends when the process is to end; a suspended machine comes back into it. The hand-over (contract, section 4: state
`sleeping`) turns the open pages into the asleep page, then waits until the dev server has been left alone for
QUIET_SECONDS, which is what it needs to put its cache on disk. A sign that a person is there calls it all off.

What must not live here: how long is quiet enough (idle.py), and how the process ends (app.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import structlog

from agent.clock import Clock
from agent.config import SleepMode
from agent.errors import AgentError
from agent.sleep.facts import facts
from agent.sleep.idle_clock import Idle, Kind, Sign, begin, heard, resumed, seen
from agent.status import Applied, Snapshot
from agent.status_board import StatusBoard

log = structlog.get_logger()

TICK_SECONDS = 5.0
PACE_SECONDS = 1.0
"""Signs of life are published together, so that a page that asks for a hundred things is one piece of news."""
FAREWELL_SECONDS = 8.0
"""For the pages to go, which takes most of them milliseconds. One in a browser that is very busy, or far away, takes
seconds, and what it asks for on its way would wake a machine that did not wait for it.
"""
QUIET_SECONDS = 5.0
"""Turbopack flushes its cache in quiet moments only: measured, 2 s after the last page it had most, 5 s all of it."""
HAND_OVER_SECONDS = 15.0
"""The hand-over's end, whatever else goes on: a page that dials for ever must not keep a machine from sleeping."""
FREEZE_SECONDS = 20.0
"""A machine that will be suspended goes on for 2 to 4 s after the answer; one that still runs after this will not."""


class Doors(Protocol):
    """The gateway, as far as sleep goes. Moments are monotonic seconds."""

    @property
    def last_exchange(self) -> float: ...
    @property
    def pages(self) -> tuple[int, int]: ...
    @property
    def answering(self) -> int: ...
    async def put_pages_to_sleep(self, within: float) -> int: ...


class Sleep:
    def __init__(
        self,
        *,
        mode: SleepMode,
        timeout: float,
        board: StatusBoard,
        doors: Doors,
        clock: Clock,
        work: Callable[[Snapshot], str | None],
        suspend: Callable[[], Awaitable[None]],
        quiet: float = QUIET_SECONDS,
    ) -> None:
        """`timeout` and `quiet` in seconds. `work`: what is under way that sleep would break off. `suspend` has the
        machine frozen soon after it returned, and raises an AgentError where that cannot be.
        """
        self._mode: SleepMode = mode
        self._board = board
        self._doors = doors
        self._clock = clock
        self._work = work
        self._suspend = suspend
        self._quiet = quiet
        self._idle: Idle = begin(clock.monotonic(), 0 if mode == "off" else timeout)
        self._news = asyncio.Event()
        self._asked = False
        self._was_frozen = False
        self._up_to_date = False
        self._editor_used = ""

    def heard(self, kind: Kind, source: str, *, attended: bool) -> None:
        """A sign of life, now."""
        self._sign(Sign(kind, source, self._clock.monotonic(), attended))

    def edited(self, applied: Applied) -> None:
        """A set was applied. The first of a life only brings the disk up to date; one without a change is none."""
        first, self._up_to_date = not self._up_to_date, True
        if first:
            return
        count = len(applied.written) + len(applied.deleted)
        if count:
            self.heard("edit", f"{count} file{'s' if count > 1 else ''}", attended=True)

    def editor(self, moment: str) -> None:
        """The backend says when the editor was used last, in RFC 3339, and with every answer again. Its clock may be
        ahead of ours: then each repetition would count as now.
        """
        if moment == self._editor_used:
            return
        self._editor_used = moment
        age = self._clock.wall() - _wall(moment)
        self._sign(Sign("editor", "", self._clock.monotonic() - max(0.0, age)))

    def resumed(self) -> None:
        """The machine was frozen and goes on."""
        self._was_frozen = True
        self._idle = resumed(self._idle, self._clock.monotonic())
        self._news.set()

    def now(self) -> str | None:
        """Sleep as soon as that can be done; the reason why it cannot, or None."""
        if self._mode == "off":
            return "SLEEP_MODE is off"
        self._asked = True
        self._news.set()
        return None

    async def run(self) -> None:
        """Until the process is to end, so that its machine stops."""
        while True:
            await self._until_due()
            if await self._hand_over() and (self._mode != "suspend" or not await self._frozen_and_back()):
                log.info("sleep.exit")
                return
            self._board.awake()

    async def _until_due(self) -> None:
        while True:
            self._look()
            if self._asked or self._due():
                return
            at = self._idle.sleep_at
            pause = TICK_SECONDS if at is None else min(TICK_SECONDS, at - self._clock.monotonic())
            if await self._listen(pause) and not self._asked:
                await asyncio.sleep(PACE_SECONDS)

    def _due(self) -> bool:
        if not self._over():
            return False
        if self._doors.answering:
            self.heard("work", "answering a request", attended=False)
        self._hear_work()
        return self._over()

    def _hear_work(self) -> None:
        work = self._work(self._board.snapshot)
        if work is not None:
            self.heard("work", work, attended=False)

    def _over(self) -> bool:
        at = self._idle.sleep_at
        return at is not None and self._clock.monotonic() >= at

    async def _hand_over(self) -> bool:
        """True when everything is ready to sleep, False when somebody came."""
        asked, self._asked = self._asked, False
        log.info("sleep.hand_over", asked=asked, last=self._idle.last.kind, source=self._idle.last.source)
        begun = told = self._clock.monotonic()
        self._board.sleeping()
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                if (pages := await self._farewell(begun)) is not None:
                    told = self._clock.monotonic()
                    log.info("sleep.farewell", pages=pages)
                while (left := self._left()) > 0 and not self._called_back(begun, told):
                    await self._listen(left)
        except TimeoutError:
            log.warning("sleep.never_quiet", seconds=HAND_OVER_SECONDS)
        if not asked:
            self._hear_work()  # of an edit that came meanwhile: it is heard of itself only when it is on disk, whole
        if not self._called_back(begun, told):
            return True
        self._asked = False  # who asked once more meanwhile did so before somebody came
        log.info("sleep.called_off", by=self._idle.last.kind, source=self._idle.last.source)
        return False

    async def _farewell(self, begun: float) -> int | None:
        """How many pages were told and had their time to go; None when somebody came meanwhile."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._doors.put_pages_to_sleep(FAREWELL_SECONDS))
            telling.add_done_callback(lambda _: self._news.set())
            while not telling.done():
                await self._listen(FAREWELL_SECONDS)
                if self._called_back(begun, told=math.inf):
                    telling.cancel()
                    return None
        return telling.result()

    async def _frozen_and_back(self) -> bool:
        """Have the machine suspended. True: it was frozen and goes on, or somebody came first. False: it cannot be."""
        begun = self._clock.monotonic()
        self._was_frozen = False
        try:
            await self._suspend()
        except AgentError as error:
            log.warning("sleep.suspend_failed", error=str(error), instead="exit")
            return False
        log.info("sleep.suspending")
        while (left := begun + FREEZE_SECONDS - self._clock.monotonic()) > 0:
            await self._listen(left)
            if self._was_frozen or self._called_back(begun, begun):
                return True
        log.warning("sleep.not_frozen", seconds=FREEZE_SECONDS, instead="exit")
        return False

    def _look(self) -> None:
        """Bring the clock up to date and publish it."""
        now = self._clock.monotonic()
        since_boot = self._clock.wall() - now
        ready_at = self._board.snapshot.dev_server.ready_at
        if self._idle.waiting and ready_at is not None:
            self._idle = seen(self._idle, min(now, _wall(ready_at) - since_boot))
        self._board.idle(facts(self._idle, mode=self._mode, pages=self._doors.pages, since_boot=since_boot))

    def _left(self) -> float:
        """Seconds until the dev server has been left alone for long enough."""
        return self._doors.last_exchange + self._quiet - self._clock.monotonic()

    def _called_back(self, begun: float, told: float) -> bool:
        """Is there a sign since then for which the clock would stay awake? What a page asked for before it was `told`
        to sleep is not one.
        """
        at = self._idle.sleep_at
        signs = (self._idle.attended, self._idle.unattended)
        news = any(sign and sign.at > (told if sign.kind == "app_request" else begun) for sign in signs)
        return news and (at is None or at > self._clock.monotonic())

    def _sign(self, sign: Sign) -> None:
        self._idle = heard(self._idle, sign)
        self._news.set()

    async def _listen(self, seconds: float) -> bool:
        """Wait until there is news, and no longer than that. Was there any?"""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


def _wall(moment: str) -> float:
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(moment.upper()).timestamp()
