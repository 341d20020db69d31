"""Whatever is put in whatever order: those who follow with held requests and deltas have the set, and miss nothing."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.storage import store as store_module
from tests.peers.control import DELTA, Client, plane

PATHS = ("a", "b", "c/x", "c/y", "d")
puts = st.tuples(
    st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["1", "2", "é" * 40_000]), max_size=3),
    st.sets(st.sampled_from(PATHS), max_size=3),
).map(lambda call: (call[0], tuple(sorted(call[1] - call[0].keys()))))


Calls = list[tuple[dict[str, str], tuple[str, ...]]]


class Follower:
    """An agent in small: keeps the set by what it is answered, and the revisions that it saw."""

    def __init__(self, client: Client, *, wait: bool) -> None:
        self._client = client
        self._headers = DELTA | ({"Prefer": "wait=20"} if wait else {})
        self.files: dict[str, str] = {}
        self.revisions = [-1]
        self.tag = '"none"'

    async def poll(self) -> None:
        answer = await self._client.files(self._headers | {"If-None-Match": self.tag})
        if answer.status == 304:
            return
        if answer.status == 200:
            self.files.clear()
        else:
            assert answer.headers["Delta-Base"] == self.tag
        for line in answer.lines():
            if line.get("deleted"):
                self.files.pop(line["filepath"], None)
            else:
                self.files[line["filepath"]] = line["content_hash"]
        self.tag = answer.headers["ETag"]
        self.revisions.append(int(answer.headers["Preview-Revision"]))

    async def follow(self, until: int) -> None:
        while self.revisions[-1] < until:
            await self.poll()


async def whole_set(client: Client) -> dict[str, str]:
    return {entry["filepath"]: entry["content_hash"] for entry in (await client.files()).json()["files"]}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(puts, max_size=12), st.data())
async def test_following_by_deltas_is_the_same_as_asking_for_the_whole_set(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, data: st.DataObject
) -> None:
    monkeypatch.setattr(store_module, "LOG_REVISIONS", 3)  # so that some bases are too old
    model: dict[str, str] = {}
    revision = 0
    with tempfile.TemporaryDirectory() as folder:
        async with plane(Path(folder)) as demo:
            followers = [Follower(demo, wait=False) for _ in range(3)]
            for files, deleted in calls:
                after = {path: text for path, text in model.items() if path not in deleted} | files
                revision += after != model
                model = after
                assert (await demo.put(files, deleted))["revision"] == revision
                for follower in data.draw(st.sets(st.sampled_from(followers))):
                    await follower.poll()
                    assert follower.files == await whole_set(demo)
            for follower in followers:
                await follower.poll()
                assert follower.files == await whole_set(demo)
                assert follower.files.keys() == model.keys()
                assert follower.revisions == sorted(set(follower.revisions))


@settings(max_examples=20)
@given(st.lists(puts, max_size=12), st.data())
async def test_no_change_is_lost_to_those_whose_requests_are_held(calls: Calls, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with plane(Path(folder)) as demo:
            followers = [Follower(demo, wait=True) for _ in range(4)]
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                last = (await demo.put({"a": "before"}))["revision"]
                following = [group.create_task(follower.poll()) for follower in followers]
                for files, deleted in calls:
                    last = (await demo.put(files, deleted))["revision"]
                    if data.draw(st.booleans()):
                        await asyncio.sleep(0)
                last = (await demo.put({"a": "after"}))["revision"]
                await asyncio.wait(following)
                for follower in followers:
                    group.create_task(follower.follow(last))
            for follower in followers:
                assert follower.files == await whole_set(demo)
                assert follower.revisions == sorted(set(follower.revisions))


async def test_many_writers_and_many_followers_at_once_end_with_the_same_set(tmp_path: Path) -> None:
    async with plane(tmp_path) as demo:
        followers = [Follower(demo, wait=True) for _ in range(20)]

        async def write(writer: int) -> None:
            for number in range(25):
                await demo.put({f"{writer}/{number % 5}": str(number)}, (f"{writer}/{(number + 2) % 5}",))

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(follower.follow(4 * 25))
            for writer in range(4):
                group.create_task(write(writer))
        expected = await whole_set(demo)
        assert all(follower.files == expected for follower in followers)
        assert all(follower.revisions == sorted(set(follower.revisions)) for follower in followers)
