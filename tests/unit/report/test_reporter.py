"""The reporter against a real backend on a real port. Where `looptime` is marked, the loop's clock is the clock: it
jumps to the next deadline when nothing else is left to do, so that minutes of reporting take no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.backend.session import fixed, open_session
from agent.clock import Clock
from agent.config import Secret
from agent.errors import NoToken
from agent.report.reporter import Reporter
from agent.status import Problem
from agent.status_board import StatusBoard
from tests.peers.activity_backend import (
    DEADLINE,
    KEY,
    ActivityBackend,
    activity_backend,
    cut_off,
    endless,
    hangs,
    says,
)
from tests.peers.snapshots import FIRST, READY, RUNNING, SYNCED

LATER = "2026-11-22T10:05:00.000Z"


def reporter(backend: ActivityBackend, board: StatusBoard, heard: list[str] | None = None) -> Reporter:
    return Reporter(
        board=board,
        session=backend.session,
        url=backend.url,
        clock=Clock(monotonic=asyncio.get_running_loop().time, wall=lambda: 0.0, chance=lambda: 0.9999),
        on_editor_activity=(heard if heard is not None else []).append,
    )


@asynccontextmanager
async def running(one: Reporter) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.run())
        try:
            yield
        finally:
            task.cancel()


@contextmanager
def said() -> Iterator[list[str]]:
    """The events that were logged meanwhile."""
    events: list[str] = []
    with capture_logs() as entries:
        yield events
    events += [entry["event"] for entry in entries]


def moments(backend: ActivityBackend) -> list[float]:
    """When the reports came, counted from the first."""
    return [round(report.at - backend.reports[0].at, 1) for report in backend.reports]


class TestWhatIsSent:
    async def test_the_first_report_says_that_the_machine_is_there(self) -> None:
        async with activity_backend() as backend, running(reporter(backend, StatusBoard(FIRST))):
            async with asyncio.timeout(DEADLINE):
                (report,) = await backend.has(1)
        assert report.body["state"] == "starting"
        assert report.headers["Authorization"] == f"Bearer {KEY}"
        assert report.headers["Content-Type"] == "application/json"

    @pytest.mark.looptime
    async def test_the_same_state_is_told_every_30_seconds_with_its_newest_memory_use(self) -> None:
        board = StatusBoard(RUNNING)
        async with activity_backend() as backend, running(reporter(backend, board)):
            await backend.has(1)
            board.dev_server(replace(READY, rss_bytes=300_000_000))
            await backend.has(4)
        assert moments(backend) == [0, 30, 60, 90]
        assert backend.reports[1].body["dev_server"]["rss_bytes"] == 300_000_000

    @pytest.mark.looptime
    async def test_news_is_told_at_once_but_at_most_once_a_second(self) -> None:
        board = StatusBoard(RUNNING)
        async with activity_backend() as backend, running(reporter(backend, board)):
            await backend.has(1)
            await asyncio.sleep(10)
            for revision in range(215, 265):
                board.sync(replace(SYNCED, revision=revision))
                await asyncio.sleep(0.1)
            await backend.has(7)
        assert moments(backend) == [0, 10, 11, 12, 13, 14, 15]
        assert backend.reports[-1].body["revision"] == 264

    @pytest.mark.looptime
    async def test_each_kind_of_news_is_told(self) -> None:
        board = StatusBoard(RUNNING)
        async with activity_backend() as backend, running(reporter(backend, board)):
            await backend.has(1)
            await asyncio.sleep(5)
            board.dev_server(replace(READY, state="restarting", restarts=4))
            await backend.has(2)
            await asyncio.sleep(5)
            board.problems("compile", (Problem("compile", "Unexpected token"),))
            await backend.has(3)
            await asyncio.sleep(5)
            board.stopping()
            await backend.has(4)
        assert moments(backend) == [0, 5, 10, 15]
        assert [report.body["state"] for report in backend.reports] == ["running", "degraded", "degraded", "stopping"]


class TestWhatIsHeard:
    @pytest.mark.looptime
    async def test_the_editors_activity_is_handed_on_and_nonsense_is_not(self) -> None:
        good = says(b'{"success": true, "last_activity_at": "%s"}' % LATER.encode())
        bad = says(b'{"success": true, "last_activity_at": "yesterday"}')
        heard: list[str] = []
        with said() as events:
            async with (
                activity_backend(bad, bad, says(), good) as backend,
                running(reporter(backend, StatusBoard(RUNNING), heard)),
            ):
                await backend.has(5)
        assert heard[0] == LATER
        assert moments(backend) == [0, 30, 60, 90, 120]
        assert events == ["report.odd_answer", "report.recovered"]


class TestFailures:
    @pytest.mark.looptime
    @pytest.mark.parametrize(
        ("answer", "event"),
        [
            (says(status=500), "report.backend"),
            (says(status=401), "report.unauthorized"),
            (says(b"<html>"), "report.bad_answer"),
            (cut_off, "report.unreachable"),
            (endless, "report.bad_answer"),
        ],
    )
    async def test_a_failed_report_is_retried_with_back_off_and_logged_once(self, answer: Any, event: str) -> None:
        with said() as events:
            async with (
                activity_backend(*[answer] * 9, says()) as backend,
                running(reporter(backend, StatusBoard(RUNNING))),
            ):
                await backend.has(11)
        assert moments(backend)[:9] == [0, 1, 2, 4, 8, 16, 32, 62, 92]
        assert moments(backend)[10] - moments(backend)[9] == 30
        assert events == [event, "report.recovered"]

    @pytest.mark.looptime
    async def test_a_retry_says_what_is_true_by_then(self) -> None:
        board = StatusBoard(FIRST)
        async with activity_backend(says(status=500), says()) as backend, running(reporter(backend, board)):
            await backend.has(1)
            board.sync(SYNCED)
            board.dev_server(READY)
            await backend.has(2)
        assert [report.body["state"] for report in backend.reports] == ["starting", "running"]

    @pytest.mark.looptime
    async def test_the_backend_is_left_alone_for_as_long_as_it_asked(self) -> None:
        board = StatusBoard(RUNNING)
        async with (
            activity_backend(says(status=429, Retry_After="45"), says()) as backend,
            running(reporter(backend, board)),
        ):
            await backend.has(1)
            board.stopping()
            await backend.has(2)
        assert moments(backend) == [0, 45]

    @pytest.mark.looptime
    async def test_a_backend_that_never_answers_costs_10_seconds_a_try(self) -> None:
        with said() as events:
            async with activity_backend(hangs, says()) as backend, running(reporter(backend, StatusBoard(RUNNING))):
                await backend.has(3)
        assert moments(backend) == [0, 11, 41]
        assert events == ["report.unreachable", "report.recovered"]

    @pytest.mark.looptime
    async def test_a_redirect_is_not_followed(self) -> None:
        async with (
            activity_backend(says(status=307, Location="/elsewhere"), says()) as backend,
            running(reporter(backend, StatusBoard(RUNNING))),
        ):
            await backend.has(2)
        assert backend.elsewhere == 0

    @pytest.mark.looptime
    @pytest.mark.parametrize("status", [404, 405, 501])
    async def test_a_backend_without_the_endpoint_is_asked_every_5_minutes_and_that_is_logged_once(
        self, status: int
    ) -> None:
        board, missing = StatusBoard(RUNNING), says(b"<html>" * 20_000, status)
        with said() as events:
            async with activity_backend(*[missing] * 3, says()) as backend, running(reporter(backend, board)):
                await backend.has(1)
                await asyncio.sleep(5)
                board.sync(replace(SYNCED, revision=215))
                await backend.has(5)
        assert moments(backend) == [0, 300, 600, 900, 930]
        assert events == ["report.not_served"]

    @pytest.mark.looptime
    async def test_a_credential_that_cannot_be_had_is_a_failure_like_any_other(self) -> None:
        tries: list[float] = []

        class NoKey:
            async def __call__(self) -> Secret | None:
                tries.append(asyncio.get_running_loop().time())
                raise NoToken("the machine gives no token")

            def doubt(self, key: Secret | None) -> bool:
                return False

        async with open_session(NoKey()) as session:
            backend = ActivityBackend(session, url="http://127.0.0.1:9/")
            async with running(reporter(backend, StatusBoard(RUNNING))):
                await asyncio.sleep(7.5)
        assert [round(at - tries[0]) for at in tries] == [0, 1, 2, 4]


class TestLast:
    async def test_it_says_that_the_agent_stops(self) -> None:
        async with activity_backend() as backend:
            await reporter(backend, StatusBoard(RUNNING)).last()
        assert [report.body["state"] for report in backend.reports] == ["stopping"]

    @pytest.mark.looptime
    async def test_it_takes_half_a_second_at_most(self) -> None:
        async with activity_backend(hangs) as backend:
            before = asyncio.get_running_loop().time()
            await reporter(backend, StatusBoard(RUNNING)).last()
            assert round(asyncio.get_running_loop().time() - before, 1) == 0.5

    @pytest.mark.parametrize("answer", [says(status=500), says(b"<html>"), says(status=404), cut_off])
    async def test_no_failure_of_it_reaches_the_stop(self, answer: Any) -> None:
        async with activity_backend(answer) as backend:
            await reporter(backend, StatusBoard(RUNNING)).last()
        assert len(backend.reports) == 1

    async def test_nobody_there_and_a_closed_session_are_no_failure_either(self) -> None:
        async with activity_backend() as backend:
            one = reporter(backend, StatusBoard(RUNNING))
        await one.last()

        async with open_session(fixed(None)) as session:
            await reporter(ActivityBackend(session, url="http://127.0.0.1:9/"), StatusBoard(RUNNING)).last()

    @pytest.mark.looptime
    async def test_a_backend_without_the_endpoint_is_spared_it(self) -> None:
        async with activity_backend(says(status=404)) as backend:
            one = reporter(backend, StatusBoard(RUNNING))
            async with running(one):
                await backend.has(1)
                await asyncio.sleep(1)
            await one.last()
        assert len(backend.reports) == 1

    async def test_a_cancelled_report_leaves_nothing_open(self) -> None:
        async with activity_backend(hangs, says()) as backend:
            one = reporter(backend, StatusBoard(RUNNING))
            async with asyncio.timeout(DEADLINE), running(one):
                await backend.has(1)
            await one.last()
        assert [report.body["state"] for report in backend.reports] == ["running", "stopping"]
