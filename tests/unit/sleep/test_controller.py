"""Going to sleep, step by step: with real waiting in small doses, and a gateway that only listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.clock import Clock, rfc3339
from agent.config import SleepMode
from agent.errors import AgentError
from agent.sleep.controller import PAGES_SECONDS, SleepController
from agent.status import Applied, Snapshot, phase
from agent.status_board import StatusBoard
from tests.peers.snapshots import FIRST, RUNNING

DEADLINE = 20.0
SOON = 0.1
QUIET = 0.05

APPLIED = Applied(
    revision=3,
    etag=None,
    written=("app/page.tsx",),
    deleted=(),
    received_at="2026-11-22T10:00:00.000Z",
    written_at="2026-11-22T10:00:00.010Z",
)


@dataclass
class FakeGateway:
    """A gateway without a port. `on_pages_asleep` is called while pages are replaced; `going` is how long they take."""

    clock: Clock
    last_exchange: float = 0.0
    pages: tuple[int, int] = (0, 0)
    answering: int = 0
    calls: int = 0
    on_pages_asleep: Callable[[], None] = lambda: None
    going: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    async def put_pages_to_sleep(self, within: float) -> int:
        self.calls += 1
        self.on_pages_asleep()
        await self.going()
        return sum(self.pages)


@dataclass
class Night:
    sleep: SleepController
    gateway: FakeGateway
    board: StatusBoard
    clock: Clock
    phases: list[str] = field(default_factory=list)
    work: str | None = None
    suspended: asyncio.Event = field(default_factory=asyncio.Event)
    suspend_error: str | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, wanted: Callable[[Snapshot], object]) -> Snapshot:
        async with asyncio.timeout(DEADLINE):
            seen = self.board.snapshot
            while not wanted(seen):
                seen = await self.board.newer(seen)
            return seen

    async def falls_asleep(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.over.wait()


@asynccontextmanager
async def night(
    after: float = SOON,
    mode: SleepMode = "exit",
    first: Snapshot = RUNNING,
    prepare: Callable[[Night], None] = lambda _: None,
) -> AsyncIterator[Night]:
    clock, board = Clock(), StatusBoard(first)
    gateway = FakeGateway(clock)
    kept: list[Night] = []

    async def suspend() -> None:
        kept[0].suspended.set()
        if kept[0].suspend_error:
            raise AgentError(kept[0].suspend_error)

    sleep = SleepController(
        mode=mode,
        timeout=after,
        board=board,
        gateway=gateway,
        clock=clock,
        work=lambda _: kept[0].work,
        suspend=suspend,
        quiet=QUIET,
    )
    here = Night(sleep, gateway, board, clock)
    kept.append(here)
    prepare(here)

    async def listen() -> None:
        seen = board.snapshot
        while True:
            here.phases.append(phase(seen))
            seen = await board.newer(seen)

    async def run() -> None:
        await sleep.run()
        here.over.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(listen()), group.create_task(run())]
        yield here
        for task in tasks:
            task.cancel()


class TestFallingAsleep:
    async def test_after_the_quiet_time_the_pages_are_told_and_it_is_over(self) -> None:
        async with night() as here:
            await here.falls_asleep()

            assert here.gateway.calls == 1
            assert phase(here.board.snapshot) == "sleeping"

    async def test_an_app_that_was_never_ready_is_not_slept_under(self) -> None:
        async with night(first=FIRST) as here:
            seen = await here.until(lambda now: now.idle.sleep_at is not None)

            assert seen.idle.reason == "the app has not been ready yet"
            assert seen.idle.sleep_at is not None
            assert seen.idle.sleep_at > rfc3339(here.clock.wall() + 600)

    async def test_the_dev_server_is_left_alone_for_a_while_before_it_is_stopped(self) -> None:
        def busy(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: setattr(here.gateway, "last_exchange", here.clock.monotonic())

        async with night(prepare=busy) as here:
            await here.falls_asleep()

            assert here.clock.monotonic() >= here.gateway.last_exchange + QUIET

    async def test_work_under_way_is_finished_first(self) -> None:
        async with night(prepare=lambda here: setattr(here, "work", "compiling")) as here:
            seen = await here.until(lambda now: now.idle.kind == "work")
            assert seen.idle.reason == "work was in progress (compiling)"
            assert here.gateway.calls == 0

            here.work = None
            await here.falls_asleep()

    async def test_an_answer_under_way_is_not_broken_off(self) -> None:
        async with night(prepare=lambda here: setattr(here.gateway, "answering", 1)) as here:
            seen = await here.until(lambda now: now.idle.kind == "work")
            assert seen.idle.reason == "work was in progress (answering a request)"
            assert here.gateway.calls == 0

            here.gateway.answering = 0
            await here.falls_asleep()

    async def test_who_asks_for_sleep_does_not_wait_for_the_quiet_time(self) -> None:
        async with night(after=3_600) as here:
            assert here.sleep.request_sleep() is None
            await here.falls_asleep()

    async def test_where_sleep_is_off_nobody_can_ask_for_it(self) -> None:
        async with night(mode="off") as here:
            assert here.sleep.request_sleep() == "SLEEP_MODE is off"
            seen = await here.until(lambda now: now.idle.never)
            assert seen.idle.sleep_at is None


class TestBeingCalledBack:
    @pytest.mark.parametrize(
        "sign",
        [
            lambda sleep: sleep.record("navigation", "GET /", attended=False),
            lambda sleep: sleep.record("input", "key", attended=True),
            lambda sleep: (sleep.record_edit(APPLIED), sleep.record_edit(APPLIED)),
            lambda sleep: sleep.record_editor_use("2099-01-01T00:00:00Z"),
        ],
        ids=["a page that is opened", "input", "an edit", "the editor"],
    )
    async def test_whoever_comes_during_the_hand_over_keeps_the_machine_awake(
        self, sign: Callable[[SleepController], Any]
    ) -> None:
        def come(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: sign(here.sleep)

        async with night(after=3_600, prepare=come) as here:
            here.sleep.request_sleep()
            await here.until(lambda now: now.sleeping)
            await here.until(lambda now: not now.sleeping)

            assert "sleeping" in here.phases
            assert not here.over.is_set()

    async def test_who_comes_while_other_pages_take_their_time_to_go_does_not_wait_for_them(self) -> None:
        def come(here: Night) -> None:
            here.gateway.going = asyncio.Event().wait
            here.gateway.on_pages_asleep = lambda: here.sleep.record("shown", "/", attended=True)

        async with night(after=3_600, prepare=come) as here:
            here.sleep.request_sleep()
            await here.until(lambda now: now.sleeping)
            async with asyncio.timeout(PAGES_SECONDS / 2):
                await here.until(lambda now: not now.sleeping)

    async def test_pages_are_waited_for_until_they_have_gone(self) -> None:
        gone = asyncio.Event()

        def take_time(here: Night) -> None:
            here.gateway.going = gone.wait
            here.gateway.on_pages_asleep = lambda: here.sleep.record("app_request", "GET /poll", attended=True)

        async with night(after=3_600, prepare=take_time) as here:
            here.sleep.request_sleep()
            await here.until(lambda now: now.sleeping)
            await asyncio.sleep(4 * QUIET)  # what must not happen has no event
            assert not here.over.is_set()
            gone.set()
            await here.falls_asleep()

    async def test_work_that_begins_during_the_hand_over_is_finished_first(self) -> None:
        def install(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: setattr(here, "work", "installing packages")

        async with night(prepare=install) as here:
            await here.until(lambda now: now.sleeping)
            awake = await here.until(lambda now: not now.sleeping)
            assert awake.idle.reason == "work was in progress (installing packages)"
            assert not here.over.is_set()

    async def test_who_asks_for_sleep_breaks_off_what_is_under_way(self) -> None:
        async with night(after=3_600, prepare=lambda here: setattr(here, "work", "compiling")) as here:
            here.sleep.request_sleep()
            await here.falls_asleep()

    async def test_what_a_page_asked_for_just_before_it_was_told_keeps_nothing_awake(self) -> None:
        def poll(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: here.sleep.record("app_request", "GET /api", attended=True)

        async with night(after=3_600, prepare=poll) as here:
            here.sleep.request_sleep()
            await here.falls_asleep()

    async def test_an_editor_whose_clock_is_ahead_is_not_used_again_by_being_told_of_again(self) -> None:
        ahead = "2099-01-01T00:00:00Z"

        def tell_again(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: here.sleep.record_editor_use(ahead)

        async with night(after=3_600, prepare=tell_again) as here:
            await here.until(lambda now: now.idle.reason == "the app became ready")
            here.sleep.record_editor_use(ahead)
            await here.until(lambda now: now.idle.last_activity == "editor")
            here.sleep.request_sleep()
            await here.falls_asleep()

    async def test_the_first_set_of_a_life_is_no_edit(self) -> None:
        def sync(here: Night) -> None:
            here.gateway.on_pages_asleep = lambda: here.sleep.record_edit(APPLIED)

        async with night(after=3_600, prepare=sync) as here:
            here.sleep.request_sleep()
            await here.falls_asleep()

    async def test_while_there_is_work_the_backend_is_told_of_the_person_before_it(self) -> None:
        async with night(after=3_600) as here:
            here.sleep.record("input", "key", attended=True)
            here.sleep.record("work", "compiling", attended=False)
            seen = await here.until(lambda now: now.idle.kind == "work")

            assert seen.idle.last_activity == "input"
            assert seen.idle.last_activity_at is not None

    async def test_a_set_that_changed_nothing_is_no_edit(self) -> None:
        async with night(after=3_600) as here:
            await here.until(lambda now: now.idle.reason == "the app became ready")
            for _ in range(2):
                here.sleep.record_edit(replace(APPLIED, written=(), deleted=()))
            here.sleep.record("input", "key", attended=True)
            seen = await here.until(lambda now: now.idle.last_activity != "none")

            assert seen.idle.last_activity == "input"


class TestSuspending:
    async def test_a_machine_that_was_frozen_goes_on_with_the_whole_quiet_time(self) -> None:
        async with night(after=3_600, mode="suspend") as here:
            here.sleep.request_sleep()
            await here.until(lambda now: now.sleeping)
            async with asyncio.timeout(DEADLINE):
                await here.suspended.wait()
            here.sleep.resumed()
            seen = await here.until(lambda now: not now.sleeping and now.idle.kind == "resume")

            assert seen.idle.reason == "the machine woke up"
            assert not here.over.is_set()

    async def test_a_machine_that_cannot_be_suspended_stops_instead(self) -> None:
        async with night(mode="suspend", prepare=lambda here: setattr(here, "suspend_error", "no such socket")) as here:
            await here.falls_asleep()

            assert here.suspended.is_set()
