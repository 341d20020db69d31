"""Whatever a backend does wrong: the disk is not touched, the facts say what happened, and the next answer recovers."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from agent.clock import Clock
from agent.sync.disk.staging import Stage
from agent.sync.loop import Timing
from tests.peers.backend_client import EAGER, Client, Place, syncing
from tests.peers.backend_faulty import (
    Fault,
    FaultyBackend,
    answers,
    bomb,
    changes_its_tag,
    cut_off,
    hangs_up,
    pretends_to_hold,
    says,
    sends,
    streams,
)
from tests.peers.backend_honest import EVERYTHING, PLAIN, Extras, lines, serving

PAGE = "app/page.tsx"
FIRST: dict[str, bytes | str] = {PAGE: "1", "package.json": "{}", "public/logo.png": b"\x89\xff" * 40_000}
EVIL = {"filepath": "app/evil.ts", "content": "evil"}
SET = {"success": True, "files": [EVIL]}


def files(**change: object) -> Fault:
    """A set whose first entry is fine and whose second has a wrong field."""
    return answers({"success": True, "files": [EVIL, {"filepath": "a.ts", "content": "x"} | change]})


FAULTS: dict[str, tuple[Fault, str]] = {
    "500": (says(500, "Internal Server Error"), "backend"),
    "400": (answers({"success": False, "error": "no"}, status=400), "backend"),
    "502": (says(502, "<html>Bad Gateway</html>"), "unreachable"),
    "504": (says(504), "unreachable"),
    "503": (says(503), "throttled"),
    "429": (says(429), "throttled"),
    "401": (says(401), "unauthorized"),
    "403": (says(403), "unauthorized"),
    "404": (says(404), "no_such_app"),
    "204": (says(204), "backend"),
    "a redirect": (says(302, Location="/elsewhere"), "backend"),
    "HTML": (says(200, "<!doctype html><title>Sign in</title>", Content_Type="text/html"), "bad_answer"),
    "HTML as JSON": (says(200, "<!doctype html>", Content_Type="application/json"), "bad_answer"),
    "an empty body": (says(200, ""), "bad_answer"),
    "success false": (answers({"success": False, "error": "row-level security"}), "backend"),
    "no success": (answers({"files": [EVIL]}), "bad_answer"),
    "files is an object": (answers({"success": True, "files": {"a": EVIL}}), "bad_answer"),
    "a list": (answers([EVIL]), "bad_answer"),
    "a wrong path type": (files(filepath=7), "bad_answer"),
    "a wrong content type": (files(content=["x"]), "bad_answer"),
    "a wrong hash": (files(content_hash="0" * 64), "bad_answer"),
    "a hash that is none": (files(content_hash="sha256"), "bad_answer"),
    "a wrong size type": (files(content=None, content_hash="0" * 64, size="1"), "bad_answer"),
    "a wrong encoding": (files(encoding={}), "bad_answer"),
    "broken base64": (files(encoding="base64", content="%"), "bad_answer"),
    "a wrong revision": (answers(SET, Preview_Revision="new"), "bad_answer"),
    "NaN": (says(200, '{"success": true, "files": [], "x": NaN}'), "bad_answer"),
    "deep nesting": (says(200, "[" * 200_000), "bad_answer"),
    "no UTF-8": (says(200, b'{"success": true, "files": [{"filepath": "a", "content": "\xff"}]}'), "bad_answer"),
    "a delta without a base": (answers(SET | {"deleted": [PAGE]}, status=226, IM="files-delta"), "wrong_base"),
    "a delta of another base": (
        answers(SET | {"deleted": [PAGE]}, status=226, IM="files-delta", Delta_Base='"other"', ETag='"9"'),
        "wrong_base",
    ),
    "a length that is too long": (cut_off(after=30, chunked=False), "unreachable"),
    "no last chunk": (cut_off(after=30, chunked=True), "unreachable"),
    "a connection that ends": (hangs_up(), "unreachable"),
    "a stream without an end": (streams(lines([EVIL], end=False)), "unreachable"),
    "a stream with a wrong count": (streams(lines([EVIL], count=2)), "bad_answer"),
    "a stream that goes on after its end": (streams(lines([EVIL]) + b'{"filepath": "b"}\n'), "bad_answer"),
    "a stream with half a line": (streams(lines([EVIL], end=False) + b'{"filepath": "b", "con'), "bad_answer"),
    "a stream that deletes in a whole set": (streams(lines([EVIL, {"filepath": PAGE, "deleted": True}])), "bad_answer"),
    "no gzip": (says(200, b"not gzip at all", Content_Encoding="gzip"), "unreachable"),
    "half a gzip": (says(200, b"\x1f\x8b\x08\0\0\0\0\0", Content_Encoding="gzip"), "bad_answer"),
    "an encoding that was not asked for": (says(200, b"\x0b\x02\x80", Content_Encoding="br"), "unreachable"),
    "a gzip bomb": (bomb(300 * 1024 * 1024), "bad_answer"),
    "70 MiB of JSON": (says(200, b'{"success": true, "files": [' + b" " * 70 * 1024 * 1024), "bad_answer"),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def settled(client: Client, backend: FaultyBackend) -> None:
    """The first set is on disk, and the next request is held where requests are."""
    await client.until_on_disk()
    await backend.asked(2)


@pytest.mark.parametrize("offers", [PLAIN, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("fault", FAULTS, ids=FAULTS.keys())
async def test_a_fault_leaves_the_disk_and_is_said_and_the_next_answer_recovers(
    place: Place, fault: str, offers: Extras
) -> None:
    backend = FaultyBackend(extras=offers)
    backend.put(FIRST)
    wrong, code = FAULTS[fault]
    async with serving(backend), syncing(place, backend) as client:
        await settled(client, backend)
        before = {path: path.stat().st_ino for path in place.workspace.rglob("*")}

        backend.always = wrong
        backend.put({PAGE: "2"})
        client.sync.poll_now()
        await client.failed(2)

        assert {path: path.stat().st_ino for path in place.workspace.rglob("*")} == before
        facts = client.facts
        assert facts.state == "failing"
        assert code in client.failures()
        assert facts.failure is not None
        assert client.messages() == [facts.failure.message]
        assert facts.files == len(FIRST)

        backend.always = None
        await client.until_on_disk()
        await client.until(lambda c: c.facts.state == "current")
        assert client.problems == ()
        assert client.facts.failure is None
        assert list((place.state / "staging").iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        answers({"success": True, "files": []}),
        says(304),
        answers(SET | {"deleted": []}, status=226, IM="files-delta", Delta_Base='""', ETag='"1"'),
        streams(b""),
        FAULTS["404"][0],
    ],
    ids=["empty", "304 unasked", "226 unasked", "no lines", "404"],
)
async def test_the_first_answer_may_be_wrong_too(place: Place, wrong: Fault) -> None:
    backend = FaultyBackend(wrong)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        await client.until(lambda c: c.facts.state == "current")

        assert client.problems == ()


async def test_a_backend_that_is_not_there_is_waited_for(place: Place, free_port: Callable[[], int]) -> None:
    port = free_port()
    backend = FaultyBackend()
    backend.put(FIRST)
    backend.url = f"http://127.0.0.1:{port}"
    async with syncing(place, backend) as client:
        await client.failed(3)
        assert client.facts.failure is not None
        assert client.facts.failure.code == "unreachable"
        assert client.facts.failure.next_try_at is not None

        async with serving(backend, port):
            await client.until_on_disk()
            assert client.facts.failure is None


@pytest.mark.parametrize("word", ["seconds", "date"])
async def test_the_backend_says_when_to_come_back(place: Place, word: str) -> None:
    now = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
    retry_after = "7" if word == "seconds" else format_datetime(now + timedelta(seconds=7), usegmt=True)
    backend = FaultyBackend(says(429, Retry_After=retry_after))
    clock = Clock(wall=now.timestamp, chance=lambda: 0.99)
    async with serving(backend), syncing(place, backend, clock=clock) as client:
        await client.failed()

        assert client.facts.failure is not None
        assert client.facts.failure.next_try_at == "2026-11-22T10:00:07.000Z"
        client.sync.poll_now()  # does not wait for it
        await client.until(lambda c: c.facts.failure is None)


async def test_a_backend_that_says_at_once_again_and_again_is_backed_off_from(place: Place) -> None:
    backend = FaultyBackend()
    backend.always = says(503, Retry_After="0")
    async with serving(backend), syncing(place, backend) as client:
        await client.failed(5)

        tries = [facts.failure.tries for facts in client.history if facts.failure]
        assert tries[-1] >= 5
        assert client.facts.failure is not None
        waits = [
            replace(client.sync._poll_state, tries=n).retry_pause(retry_after=0.0, chance=EAGER.chance())
            for n in (1, 5)
        ]
        assert waits[1] > waits[0] > 0


async def test_who_pretends_to_hold_is_polled_and_still_followed(place: Place) -> None:
    backend = FaultyBackend()
    backend.always = pretends_to_hold()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(0.2, 20)) as client:
        await client.until_on_disk()
        asked = len(backend.seen)
        await asyncio.sleep(0.5)  # what is tested is that little happens in a while
        assert len(backend.seen) - asked <= 4

        backend.put({PAGE: "2"})
        await client.until_on_disk()


async def test_a_tag_that_changes_each_time_changes_nothing_on_the_disk(place: Place) -> None:
    backend = FaultyBackend(extras=PLAIN)
    backend.always = changes_its_tag()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        before = {path: path.stat().st_mtime_ns for path in place.workspace.rglob("*")}
        await backend.asked(12)

        assert {path: path.stat().st_mtime_ns for path in place.workspace.rglob("*")} == before
        assert all(applied.written == () for applied in client.applied[1:])
        assert client.failures() == []


async def test_an_empty_set_is_held_back_for_as_long_as_it_is_said(place: Place) -> None:
    backend = FaultyBackend(extras=PLAIN)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        backend.always = answers({"success": True, "files": []})
        await client.until(lambda c: c.facts.state == "held")
        await backend.asked(len(backend.seen) + 5)

        assert len(place.files()) == len(FIRST)
        assert client.facts.held is not None
        assert client.messages() == [client.facts.held]
        backend.always = None
        await client.until(lambda c: c.facts.state == "current")
        assert client.problems == ()


async def test_an_empty_set_with_a_newer_revision_is_obeyed(place: Place) -> None:
    backend = FaultyBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await settled(client, backend)
        backend.script.append(answers({"success": True, "files": []}, Preview_Revision="2", ETag='"set-2"'))
        client.sync.poll_now()
        await client.until(lambda c: not c.place.files())

        assert list(place.workspace.iterdir()) == []


MANY: dict[str, bytes | str] = {f"app/{number}.ts": "1" for number in range(20)}


class Watch:
    """A clock that the test turns on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(monotonic=lambda: self.now, chance=lambda: 0.02)


async def test_a_mass_deletion_is_obeyed_when_it_was_said_long_enough(place: Place) -> None:
    watch = Watch()
    backend = FaultyBackend(extras=PLAIN)
    backend.put(MANY)
    async with serving(backend), syncing(place, backend, clock=watch.clock) as client:
        await client.until_on_disk()
        backend.put({}, tuple(MANY)[:15])
        await client.until(lambda c: c.facts.state == "held")
        await backend.asked(len(backend.seen) + 5)
        assert len(place.files()) == 20

        watch.now = 11.0
        await client.until_on_disk()
        await client.until(lambda c: c.facts.state == "current")
        assert client.problems == ()


async def test_a_mass_deletion_that_comes_and_goes_is_never_obeyed(place: Place) -> None:
    """As of a backend behind a balancer, one of whose replicas lost its rows."""
    watch = Watch()
    backend = FaultyBackend(extras=PLAIN)
    backend.put(MANY)
    half = answers({"success": True, "files": [{"filepath": "app/0.ts", "content": "1"}]})
    async with serving(backend), syncing(place, backend, clock=watch.clock) as client:
        await client.until_on_disk()
        for turn in range(6):
            watch.now = turn * 20.0
            backend.script.append(half)
            await client.until(lambda c: c.facts.state == "held")
            await client.until(lambda c: c.facts.state == "current")

        assert len(place.files()) == 20


async def test_a_mass_deletion_by_a_delta_is_obeyed_at_once(place: Place) -> None:
    backend = FaultyBackend()
    backend.put(MANY)
    async with serving(backend), syncing(place, backend) as client:
        await settled(client, backend)
        backend.put({}, tuple(MANY))
        await client.until_on_disk()

        assert not any(facts.held for facts in client.history)


BLOB_FAULTS: dict[str, Fault] = {
    "404": says(404),
    "500": says(500),
    "429": says(429, Retry_After="0"),
    "401": says(401),
    "wrong bytes": says(200, b"\x89\xfe" * 40_000),
    "too few bytes": says(200, b"\x89\xff"),
    "too many bytes": says(200, b"\x89\xff" * 90_000),
    "no bytes": says(200, b""),
    "a connection that ends": hangs_up(),
}


@pytest.mark.parametrize("wrong", BLOB_FAULTS.values(), ids=BLOB_FAULTS.keys())
async def test_a_blob_that_fails_fails_the_set_and_nothing_of_it_is_written(place: Place, wrong: Fault) -> None:
    backend = FaultyBackend()
    backend.put({f"public/{number}.bin": bytes([255, number]) * 40_000 for number in range(8)} | FIRST)
    backend.blob_faults.extend([wrong] * 12)  # a connection that ends is tried again by the HTTP library itself
    async with serving(backend), syncing(place, backend) as client:
        await client.failed()
        assert place.files() == {}

        await client.until_on_disk()
        await client.until(lambda c: c.facts.state == "current")
        assert client.problems == ()
    assert list((place.state / "staging").iterdir()) == []


async def test_a_tag_that_is_no_text_is_done_without(place: Place) -> None:
    body = b'{"success": true, "files": [{"filepath": "app/page.tsx", "content": "1"}]}'
    head = b'HTTP/1.1 200 OK\r\nETag: "\xff\xfe"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n'
    backend = FaultyBackend(extras=PLAIN)
    backend.always = sends(head % len(body) + body)
    backend.put({PAGE: "1"})
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        await backend.asked(3)
        assert client.failures() == []
        assert client.facts.etag is None


async def test_the_same_body_under_another_tag_is_a_new_answer(place: Place) -> None:
    """Else the agent would name its old tag for ever, and no request would be held again."""
    offers = replace(PLAIN, etag=True, wait=True)
    backend = FaultyBackend(extras=offers)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(0.02, 20)) as client:
        await settled(client, backend)
        backend.put({})
        await client.until(lambda c: c.facts.etag == backend.tag)
        assert client.applied[-1].etag == backend.tag


async def test_a_delta_and_a_whole_set_of_the_same_body_are_told_apart(place: Place) -> None:
    offers = replace(PLAIN, etag=True)
    backend = FaultyBackend(extras=offers)
    backend.put({PAGE: "1", "b.ts": "1"})
    body = {"success": True, "files": [{"filepath": PAGE, "content": "2"}]}
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        delta = answers(body, status=226, IM="files-delta", Delta_Base='"set-1"', ETag='"x"')
        backend.script.extend([delta, answers(body, ETag='"x"')])
        await client.until(lambda c: c.place.files() == {PAGE: b"2"})


async def test_a_full_disk_is_told_to_who_may_make_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    backend = FaultyBackend()
    backend.put(FIRST)
    with monkeypatch.context() as broken:
        broken.setattr(Stage, "accept", full)
        async with serving(backend), syncing(place, backend) as client:
            await client.failed()
            assert "No space left on device" in client.full[0]
            broken.undo()
            await client.until_on_disk()
