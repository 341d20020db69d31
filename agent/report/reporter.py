"""Sends activity reports to the backend: POST …/activity (contract, section 4).

One report is sent at a time, made from the newest snapshot, so that nothing queues up while the backend is unreachable.
A failure is only logged, once and not at every retry.

What must not live here: when a report is due (schedule.py), its content (body.py), what the answer means (answer.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import orjson
import structlog

from agent.backend.session import Session
from agent.clock import Clock
from agent.errors import BackendError, BadAnswer, Unreachable
from agent.report.answer import ReportAnswer, read_answer
from agent.report.body import Body, body, urgent_parts
from agent.report.schedule import UNSERVED_SECONDS, Schedule, first
from agent.status_board import StatusBoard

log = structlog.get_logger()

REPORT_SECONDS = 10.0
LAST_SECONDS = 0.5
MAX_ANSWER = 64 * 1024


class Reporter:
    """`url` is the app's activity address (agent.backend.session.app_path); the session adds the credential.

    `on_editor_activity` is called with the backend's `last_activity_at`, which is a valid RFC 3339 time.
    """

    def __init__(
        self,
        *,
        board: StatusBoard,
        session: Session,
        url: str,
        clock: Clock,
        on_editor_activity: Callable[[str], None],
    ) -> None:
        self._board = board
        self._session = session
        self._url = url
        self._clock = clock
        self._on_editor_activity = on_editor_activity
        self._served = True
        self._warned: str | None = None
        """The log event of the failure that lasts, so that it is logged only once."""

    async def run(self) -> None:
        """Report until cancelled."""
        schedule = first(self._clock.monotonic())
        while True:
            report = await self._when_due(schedule)
            schedule = await self._report(report, schedule)

    async def last(self) -> None:
        """Report that the agent stops: one try, which raises nothing. Called after `run` has ended."""
        if not self._served:
            return
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._post(body(replace(self._board.snapshot, stopping=True)))
        except Exception as error:  # noqa: BLE001  the other steps of the stop matter more
            log.info("report.last_failed", error=str(error) or f"no answer within {LAST_SECONDS:g} s")

    async def _when_due(self, schedule: Schedule) -> Body:
        """Wait until the next report is due, which a change may bring forward, and return it."""
        while True:
            snapshot = self._board.snapshot
            report = body(snapshot)
            pause = schedule.due(urgent_parts(report)) - self._clock.monotonic()
            if pause <= 0:
                return report
            try:
                async with asyncio.timeout(pause):
                    await self._board.newer(snapshot)
            except TimeoutError:
                pass

    async def _report(self, report: Body, schedule: Schedule) -> Schedule:
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                answer = await self._post(report)
        except TimeoutError:
            error: BackendError = Unreachable(f"no answer to a report within {REPORT_SECONDS:g} s")
        except BackendError as raised:
            error = raised
        else:
            return self._after_answer(answer, schedule, report, sent)
        self._warn_once(f"report.{error.code}", str(error))
        return schedule.after_failure(
            self._clock.monotonic(), retry_after=error.retry_after, chance=self._clock.chance()
        )

    def _after_answer(self, answer: ReportAnswer, schedule: Schedule, report: Body, sent: float) -> Schedule:
        if not answer.served:
            if self._served:
                log.info("report.not_served", url=self._url, asked_again_after_s=UNSERVED_SECONDS)
            self._served = False
            return schedule.after_unserved(self._clock.monotonic())
        self._served = True
        if answer.warning:
            self._warn_once("report.odd_answer", answer.warning)
        elif self._warned:
            log.info("report.recovered", after=self._warned)
            self._warned = None
        if answer.last_activity_at:
            self._on_editor_activity(answer.last_activity_at)
        return schedule.after_accepted(sent, urgent_parts(report))

    async def _post(self, report: Body) -> ReportAnswer:
        try:
            async with await self._session.post(
                self._url,
                data=orjson.dumps(report),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
            ) as response:
                data = await _read_limited(response) if response.status < 300 else b""
                return read_answer(response.status, response.headers, data, wall=self._clock.wall())
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"a report could not be sent: {str(error) or type(error).__name__}") from error

    def _warn_once(self, event: str, why: str) -> None:
        """Log a failure when it begins and not at every retry, so that a long outage does not fill the log."""
        if event != self._warned:
            self._warned = event
            log.warning(event, why=why)


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    try:
        await response.content.readexactly(MAX_ANSWER + 1)
    except asyncio.IncompleteReadError as complete:
        return complete.partial
    raise BadAnswer(f"the answer to a report is longer than {MAX_ANSWER} bytes")
