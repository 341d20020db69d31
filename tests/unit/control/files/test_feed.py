import asyncio

import pytest

from control.files.feed import Feed


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_who_wait_are_woken_in_the_order_in_which_they_came() -> None:
    feed, woken = Feed(), []

    async def wait(name: int) -> None:
        await feed.newer("a", 1, 10)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name in range(50):
            group.create_task(wait(name))
        await settle()
        assert len(feed) == 50
        feed.publish("a", 2)
    assert woken == list(range(50))
    assert len(feed) == 0


async def test_a_change_between_the_look_and_the_wait_is_not_lost() -> None:
    feed = Feed()
    feed.publish("a", 2)
    async with asyncio.timeout(1):
        await feed.newer("a", 1, 100)


async def test_a_change_of_another_app_or_an_old_one_wakes_nobody() -> None:
    feed = Feed()
    waiting = asyncio.create_task(feed.newer("a", 5, 10))
    await settle()
    feed.publish("b", 9)
    feed.publish("a", 5)
    await settle()
    assert not waiting.done()
    feed.publish("a", 6)
    async with asyncio.timeout(1):
        await waiting


@pytest.mark.looptime
async def test_a_wait_ends_when_its_time_is_over_and_leaves_nothing_behind() -> None:
    feed = Feed()
    began = asyncio.get_running_loop().time()
    await feed.newer("a", 5, 25)
    assert asyncio.get_running_loop().time() - began == pytest.approx(25)
    assert len(feed) == 0


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    feed = Feed()
    waiting = asyncio.create_task(feed.newer("a", 5, 10))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(feed) == 0
    feed.publish("a", 6)


async def test_closing_wakes_everybody_and_nobody_waits_any_more() -> None:
    feed = Feed()
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        for app in ("a", "b"):
            group.create_task(feed.newer(app, 5, 100))
        await settle()
        feed.close()
        group.create_task(feed.newer("a", 5, 100))
