"""Blocking work runs one call after the other, and what has begun ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agent.sync.disk.disk_thread import DiskThread


@pytest.fixture
def thread() -> Iterator[DiskThread]:
    made = DiskThread()
    yield made
    made.close()
    made.close()


async def test_a_call_gives_its_result_or_its_error(thread: DiskThread) -> None:
    assert await thread.run(int, "7") == 7
    with pytest.raises(ValueError, match="seven"):
        await thread.run(int, "seven")


async def test_a_call_that_has_begun_ends_before_its_cancellation_does(thread: DiskThread) -> None:
    begun, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    done = []

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait(10)
        done.append("worked")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(thread.run(work))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # somebody who is in a hurry
        await asyncio.sleep(0)
        assert not task.done()
        goes_on.set()

    assert task.cancelled()
    assert done == ["worked"]


async def test_an_error_of_a_cancelled_call_is_nobodys(thread: DiskThread) -> None:
    begun, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait(10)
        raise OSError(5, "Input/output error")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(thread.run(work))
        await begun.wait()
        task.cancel()
        goes_on.set()

    assert task.cancelled()


async def test_calls_never_overlap(thread: DiskThread) -> None:
    at_once, most = 0, 0

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        threading.Event().wait(0.001)
        at_once -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(thread.run(work))

    assert most == 1
