"""Puts the machine to sleep: records activity, watches the idle clock, and prepares the sleep when it is due.

`run` returns when the process shall exit; after a suspend it goes on. To prepare (contract, section 4: state
`sleeping`), the open pages are replaced by the asleep page, and then the dev server is left alone for QUIET_SECONDS,
which it needs to write its cache to disk. Activity of a person in between cancels the sleep.

What must not live here: how long the machine stays awake (idle_clock.py), and how the process ends (app.py).
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
from agent.sleep.idle_clock import (
    ActivityEvent,
    ActivityKind,
    IdleClock,
    started,
    with_app_ready,
    with_event,
    with_resume,
)
from agent.status import Applied, Snapshot
from agent.status_board import StatusBoard

log = structlog.get_logger()

TICK_SECONDS = 5.0
PUBLISH_SECONDS = 1.0
"""Activity is published at most this often, so that a page with a hundred requests causes one update."""
PAGES_SECONDS = 8.0
"""How long the pages have for replacing themselves. Most take milliseconds. A page in a very busy or distant browser
takes seconds. If the machine slept without waiting for it, that page's next request would wake it again.
"""
QUIET_SECONDS = 5.0
"""Turbopack writes its cache only while idle: measured, most of it 2 s after the last page, all of it after 5 s."""
PREPARE_SECONDS = 15.0
"""The preparation ends after this in any case: a page that keeps reconnecting must not prevent the sleep."""
FREEZE_SECONDS = 20.0
"""A machine freezes 2 to 4 s after the answer to `suspend`. One that still runs after this long will not freeze."""


class PageGateway(Protocol):
    """The part of the gateway that the controller uses. Times are monotonic seconds."""

    @property
    def last_exchange(self) -> float: ...
    @property
    def pages(self) -> tuple[int, int]: ...
    @property
    def answering(self) -> int: ...
    async def put_pages_to_sleep(self, within: float) -> int: ...


class SleepController:
    def __init__(
        self,
        *,
        mode: SleepMode,
        timeout: float,
        board: StatusBoard,
        gateway: PageGateway,
        clock: Clock,
        work: Callable[[Snapshot], str | None],
        suspend: Callable[[], Awaitable[None]],
        quiet: float = QUIET_SECONDS,
    ) -> None:
        """`timeout` and `quiet` in seconds. `work` returns the work in progress that sleep would interrupt. `suspend`
        returns when the machine will freeze soon, and raises an AgentError if it cannot.
        """
        self._mode: SleepMode = mode
        self._board = board
        self._gateway = gateway
        self._clock = clock
        self._work = work
        self._suspend = suspend
        self._quiet = quiet
        self._idle: IdleClock = started(clock.monotonic(), 0 if mode == "off" else timeout)
        self._changed = asyncio.Event()
        self._requested = False
        self._was_frozen = False
        self._first_set_applied = False
        self._editor_used_at = ""
        """The last value of `last_activity_at`, RFC 3339."""

    def record(self, kind: ActivityKind, source: str, *, attended: bool) -> None:
        """Record activity that happens now."""
        self._record(ActivityEvent(kind, source, self._clock.monotonic(), attended))

    def record_edit(self, applied: Applied) -> None:
        """Record an applied set as an edit. The first set after the start and sets that change nothing do not count."""
        first, self._first_set_applied = not self._first_set_applied, True
        if first:
            return
        count = len(applied.written) + len(applied.deleted)
        if count:
            self.record("edit", f"{count} file{'s' if count > 1 else ''}", attended=True)

    def record_editor_use(self, moment: str) -> None:
        """Record the backend's `last_activity_at` (RFC 3339), which it repeats with every answer. A repeated value is
        ignored: if the backend's clock is ahead of ours, the time is taken as now, and every answer would count as new
        activity.
        """
        if moment == self._editor_used_at:
            return
        self._editor_used_at = moment
        age = self._clock.wall() - _timestamp(moment)
        self._record(ActivityEvent("editor", "", self._clock.monotonic() - max(0.0, age)))

    def resumed(self) -> None:
        """Record that the machine was frozen and resumed."""
        self._was_frozen = True
        self._idle = with_resume(self._idle, self._clock.monotonic())
        self._changed.set()

    def request_sleep(self) -> str | None:
        """Go to sleep as soon as possible. Returns the reason if that is disabled, or None."""
        if self._mode == "off":
            return "SLEEP_MODE is off"
        self._requested = True
        self._changed.set()
        return None

    async def run(self) -> None:
        """Return when the process shall exit, so that its machine stops."""
        while True:
            await self._wait_until_due()
            if await self._prepare() and (self._mode != "suspend" or not await self._suspend_and_resume()):
                log.info("sleep.exit")
                return
            self._board.awake()

    async def _wait_until_due(self) -> None:
        while True:
            self._publish()
            if self._requested or self._is_due():
                return
            at = self._idle.sleep_at
            pause = TICK_SECONDS if at is None else min(TICK_SECONDS, at - self._clock.monotonic())
            if await self._wait_for_change(pause) and not self._requested:
                await asyncio.sleep(PUBLISH_SECONDS)

    def _is_due(self) -> bool:
        if not self._is_timed_out():
            return False
        if self._gateway.answering:
            self.record("work", "answering a request", attended=False)
        self._record_work()
        return self._is_timed_out()

    def _record_work(self) -> None:
        work = self._work(self._board.snapshot)
        if work is not None:
            self.record("work", work, attended=False)

    def _is_timed_out(self) -> bool:
        at = self._idle.sleep_at
        return at is not None and self._clock.monotonic() >= at

    async def _prepare(self) -> bool:
        """Prepare the sleep. Returns True when everything is ready, False when activity cancelled it."""
        requested, self._requested = self._requested, False
        log.info("sleep.preparing", requested=requested, last=self._idle.last.kind, source=self._idle.last.source)
        begun = pages_gone = self._clock.monotonic()
        self._board.sleeping()
        try:
            async with asyncio.timeout(PREPARE_SECONDS):
                if (pages := await self._put_pages_to_sleep(begun)) is not None:
                    pages_gone = self._clock.monotonic()
                    log.info("sleep.pages_asleep", pages=pages)
                while (left := self._quiet_left()) > 0 and not self._is_cancelled(begun, pages_gone):
                    await self._wait_for_change(left)
        except TimeoutError:
            log.warning("sleep.never_quiet", seconds=PREPARE_SECONDS)
        if not requested:
            self._record_work()  # an edit that is being written is not recorded as an edit yet
        if not self._is_cancelled(begun, pages_gone):
            return True
        self._requested = False  # the activity outranks a request for sleep that came during the preparation
        log.info("sleep.called_off", by=self._idle.last.kind, source=self._idle.last.source)
        return False

    async def _put_pages_to_sleep(self, begun: float) -> int | None:
        """Replace the open pages by the asleep page. Returns their number, or None when activity cancelled it."""
        async with asyncio.TaskGroup() as group:
            replacing = group.create_task(self._gateway.put_pages_to_sleep(PAGES_SECONDS))
            replacing.add_done_callback(lambda _: self._changed.set())
            while not replacing.done():
                await self._wait_for_change(PAGES_SECONDS)
                if self._is_cancelled(begun, pages_gone=math.inf):
                    replacing.cancel()
                    return None
        return replacing.result()

    async def _suspend_and_resume(self) -> bool:
        """Suspend the machine. Returns True after the resume, or when activity came first; False if it cannot."""
        begun = self._clock.monotonic()
        self._was_frozen = False
        try:
            await self._suspend()
        except AgentError as error:
            log.warning("sleep.suspend_failed", error=str(error), instead="exit")
            return False
        log.info("sleep.suspending")
        while (left := begun + FREEZE_SECONDS - self._clock.monotonic()) > 0:
            await self._wait_for_change(left)
            if self._was_frozen or self._is_cancelled(begun, begun):
                return True
        log.warning("sleep.not_frozen", seconds=FREEZE_SECONDS, instead="exit")
        return False

    def _publish(self) -> None:
        """Update the idle clock and publish its facts."""
        now = self._clock.monotonic()
        since_boot = self._clock.wall() - now
        ready_at = self._board.snapshot.dev_server.ready_at
        if self._idle.waiting and ready_at is not None:
            self._idle = with_app_ready(self._idle, min(now, _timestamp(ready_at) - since_boot))
        self._board.idle(facts(self._idle, mode=self._mode, pages=self._gateway.pages, since_boot=since_boot))

    def _quiet_left(self) -> float:
        """Seconds until the dev server has been left alone for long enough."""
        return self._gateway.last_exchange + self._quiet - self._clock.monotonic()

    def _is_cancelled(self, begun: float, pages_gone: float) -> bool:
        """True if activity since `begun` keeps the machine awake. `pages_gone`: when the last page was replaced; the
        app's requests before that do not count.
        """
        at = self._idle.sleep_at
        events = (self._idle.attended, self._idle.unattended)
        is_new = any(event and event.at > (pages_gone if event.kind == "app_request" else begun) for event in events)
        return is_new and (at is None or at > self._clock.monotonic())

    def _record(self, event: ActivityEvent) -> None:
        self._idle = with_event(self._idle, event)
        self._changed.set()

    async def _wait_for_change(self, seconds: float) -> bool:
        """Wait for a change, at most this long. Returns whether there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


def _timestamp(moment: str) -> float:
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(moment.upper()).timestamp()
