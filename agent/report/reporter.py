"""Tells the backend what goes on (contract, section 4): POST …/activity.

One report is under way at a time, and each is made of the newest snapshot at the moment it leaves: nothing queues up
while the backend is away. No failure of a report reaches anybody but the log, and the log hears of it once, not once
a try.

What must not live here: when a report is due (schedule.py), what it says (body.py), what the answer means (answer.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import orjson
import structlog

from agent.backend.session import Session
from agent.clock import Clock, retry_after
from agent.errors import AgentError, BackendError, BadAnswer, Unreachable
from agent.report.answer import Answer, understand
from agent.report.body import Body, body, news
from agent.report.schedule import UNSERVED_SECONDS, Schedule, first
from agent.status_board import StatusBoard

log = structlog.get_logger()

REPORT_SECONDS = 10.0
LAST_SECONDS = 0.5
MAX_ANSWER = 64 * 1024


class Reporter:
    """`url` is the app's activity address (agent.backend.session.app_path); the session carries the credential.

    `on_editor_activity` gets each time the backend's `last_activity_at`, checked to be RFC 3339.
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
        self._complaint: str | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        schedule = first(self._clock.monotonic())
        while True:
            report = await self._when_due(schedule)
            schedule = await self._report(report, schedule)

    async def last(self) -> None:
        """Say that the agent stops: one try, and no failure of it reaches the caller. For after `run` has ended."""
        if not self._served:
            return
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._post(body(replace(self._board.snapshot, stopping=True)))
        except Exception as error:  # noqa: BLE001 - it stands in the way of the stop, whose other steps matter more
            log.info("report.last_failed", error=str(error) or f"no answer within {LAST_SECONDS:g} s")

    async def _when_due(self, schedule: Schedule) -> Body:
        """Wait for the moment of the next report, which news may bring forward, and return what it says."""
        while True:
            snapshot = self._board.snapshot
            report = body(snapshot)
            pause = schedule.due(news(report)) - self._clock.monotonic()
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
            error: AgentError = Unreachable(f"no answer to a report within {REPORT_SECONDS:g} s")
        except AgentError as met:
            error = met
        else:
            return self._answered(answer, schedule, report, sent)
        self._complain(f"report.{error.code}", str(error))
        retry_after = error.retry_after if isinstance(error, BackendError) else None
        return schedule.failed_at(self._clock.monotonic(), retry_after=retry_after, chance=self._clock.chance())

    def _answered(self, answer: Answer, schedule: Schedule, report: Body, sent: float) -> Schedule:
        if not answer.served:
            if self._served:
                log.info("report.not_served", url=self._url, asked_again_after_s=UNSERVED_SECONDS)
            self._served = False
            return schedule.unserved_at(self._clock.monotonic())
        self._served = True
        if answer.remark:
            self._complain("report.odd_answer", answer.remark)
        elif self._complaint:
            log.info("report.recovered", after=self._complaint)
            self._complaint = None
        if answer.last_activity_at:
            self._on_editor_activity(answer.last_activity_at)
        return schedule.told_at(sent, news(report))

    async def _post(self, report: Body) -> Answer:
        try:
            async with await self._session.post(
                self._url,
                data=orjson.dumps(report),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
            ) as response:
                data = await _bounded(response) if response.status < 300 else b""
                wait = retry_after(response.headers.get("Retry-After"), self._clock.wall())
                return understand(response.status, data, retry_after=wait)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"a report did not get through: {str(error) or type(error).__name__}") from error

    def _complain(self, event: str, why: str) -> None:
        """Say a thing when it begins and not at each try: a backend that is away for a night fills no log."""
        if event != self._complaint:
            self._complaint = event
            log.warning(event, why=why)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    try:
        await response.content.readexactly(MAX_ANSWER + 1)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    raise BadAnswer(f"the answer to a report is longer than {MAX_ANSWER} bytes")
