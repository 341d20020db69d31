"""The look at the clocks, on a loop whose own clock jumps to the next deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from agent.clock import Clock
from agent.sleep import resume
from agent.sleep.resume import ResumeDetector

pytestmark = pytest.mark.looptime


@dataclass
class World:
    """`ahead`: by how much the wall clock has run away. `stopped`: what both clocks gained while nothing ran."""

    ahead: float = 0.0
    stopped: float = 0.0
    dialled: list[float] = field(default_factory=list)
    certain: int = 0
    watch: ResumeDetector = field(init=False)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.stopped

    def wall(self) -> float:
        return 1_700_000_000.0 + self.monotonic() + self.ahead

    async def note(self) -> None:
        self.dialled.append(round(asyncio.get_running_loop().time(), 3))

    def resumed(self) -> None:
        self.certain += 1

    async def run(self, act: Callable[[], Awaitable[None]], redial: Callable[[], Awaitable[None]]) -> None:
        clock = Clock(monotonic=self.monotonic, wall=self.wall)
        self.watch = ResumeDetector(clock=clock, redial=redial, resumed=self.resumed)
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self.watch.run())
            await act()
            looking.cancel()


@contextmanager
def events() -> Iterator[list[str]]:
    names: list[str] = []
    with capture_logs() as logs:
        yield names
    names += [log["event"] for log in logs]


async def test_a_machine_that_goes_on_is_left_alone() -> None:
    world = World()
    await world.run(lambda: asyncio.sleep(3_600), world.note)
    assert world.dialled == []


async def test_each_resume_is_noticed_once_within_a_second() -> None:
    world = World()

    async def sleep_twice() -> None:
        await asyncio.sleep(10.5)
        world.ahead += 40_000
        await asyncio.sleep(10)
        world.stopped += 60
        await asyncio.sleep(10)

    with events() as logged:
        await world.run(sleep_twice, world.note)
    assert [int(at) for at in world.dialled] == [11, 21]
    assert logged == ["sleep.resumed", "sleep.resumed"]
    assert world.certain == 2


async def test_after_a_snapshot_was_asked_for_all_is_dialled_anew_though_no_clock_tells_of_it_yet() -> None:
    world = World()

    async def suspend() -> None:
        await asyncio.sleep(10.5)
        world.watch.suspending()
        await asyncio.sleep(60)

    await world.run(suspend, world.note)
    assert [int(at) for at in world.dialled] == [14, 16, 19]
    assert world.certain == 0


async def test_what_follows_a_resume_has_a_deadline_and_is_not_taken_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resume, "REDIAL_SECONDS", 60.0)
    world = World()
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()

    async def sleep_once() -> None:
        await asyncio.sleep(5.5)
        world.ahead += 40_000
        await asyncio.sleep(300)

    with events() as logged:
        await world.run(sleep_once, hang)
    assert calls == 1
    assert logged == ["sleep.resumed", "sleep.redial_slow"]
