"""The loop against a backend that keeps the contract, whatever of it is offered, over real sockets and a real disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.sync.loop import Timing
from tests.peers.backend_client import Place, syncing
from tests.peers.backend_honest import EVERYTHING, KEY, PLAIN, Extras, HonestBackend, serving

PAGE = "app/page.tsx"
FIRST: dict[str, bytes | str] = {
    PAGE: "export default () => 1\n",
    "app/[slug]/layout.tsx": "ünïcode 日本\n",
    "package.json": "{}\n",
    "public/logo.png": b"\x89PNG\xff\x00" * 20_000,
    "public/empty": b"",
}
EACH_ALONE = {
    field.name: replace(PLAIN, **{field.name: True} | ({"etag": True} if field.name in {"wait", "delta"} else {}))
    for field in fields(Extras)
}
ALL_BUT_ONE = {f"all but {field.name}": replace(EVERYTHING, **{field.name: False}) for field in fields(Extras)}
OFFERS = {"plain": PLAIN, "everything": EVERYTHING} | EACH_ALONE | ALL_BUT_ONE


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("offers", OFFERS.values(), ids=OFFERS.keys())
async def test_the_disk_follows_whatever_the_backend_offers(place: Place, offers: Extras) -> None:
    backend = HonestBackend(offers)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        backend.put({PAGE: "2", "app/new/page.tsx": "3"}, ("app/[slug]/layout.tsx", "public/empty"))
        await client.until_on_disk()
        backend.put({"app/new": "a file now"}, ("app/new/page.tsx",))
        await client.until_on_disk()
        backend.put({"app/new/page.tsx": b"\xff a folder again"}, ("app/new",))
        await client.until_on_disk()

        await client.until(lambda c: c.facts.state == "current")
        assert client.failures() == []
        assert client.problems == ()
        assert client.facts.files == len(backend.files)
        assert client.facts.bytes == sum(map(len, backend.files.values()))
        assert client.facts.revision == (backend.revision if offers.revisions else None)
        assert not (place.workspace / "app/[slug]").exists()
        manifest = place.recorded()
    assert {path: record.sha256 for path, record in manifest.files.items()} == {
        path: hashlib.sha256(data).hexdigest() for path, data in backend.files.items()
    }


async def test_what_the_backend_offers_is_found_out(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        backend.put({PAGE: "2"})
        await client.until(lambda c: "delta" in c.facts.backend)

        assert set(client.facts.backend) == {"etag", "wait", "delta", "stream", "blobs", "revision"}


async def test_a_change_arrives_without_a_poll_where_requests_are_held(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 20)) as client:
        await client.until_on_disk()
        for number in range(20):
            backend.put({PAGE: str(number)})
            await client.until_on_disk()

        assert backend.answers()[1:] == [226] * 20


async def test_a_folder_that_was_just_deleted_is_created_again_only_after_the_watchers_have_noticed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sync.deleted_folders.SETTLE_SECONDS", 1.0)
    backend = HonestBackend()
    backend.put({**FIRST, "app/about/page.tsx": "1"})
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 20)) as client:
        await client.until_on_disk()
        before_the_delete = time.monotonic()
        backend.put({}, ("app/about/page.tsx",))
        await client.until_on_disk()
        assert not (place.workspace / "app/about").exists()
        backend.put({"app/about/page.tsx": "2"})
        await client.until_on_disk()

        assert time.monotonic() - before_the_delete >= 1.0


async def test_nothing_is_transferred_while_nothing_changes(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(0.02, 1)) as client:
        await client.until_on_disk()
        await backend.asked(3)

        assert backend.answers()[1:2] == [304]
        assert sum(seen.body for seen in backend.seen[1:] if "blobs" not in seen.path) == 0


async def test_a_tool_that_is_new_to_the_backend_is_used_and_one_that_is_gone_is_done_without(place: Place) -> None:
    backend = HonestBackend(PLAIN)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        for number, offers in enumerate([EVERYTHING, PLAIN, *ALL_BUT_ONE.values(), EVERYTHING]):
            backend.extras = offers
            backend.put({PAGE: f"{number} and on", f"public/{number}.bin": bytes([255, number]) * 50_000})
            await client.until_on_disk()

        assert client.failures() == []
        assert client.problems == ()


async def test_bytes_that_the_disk_holds_are_not_fetched_again(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        fetched = len([seen for seen in backend.seen if "blobs" in seen.path])
        (place.workspace / "mine.bin").write_bytes(b"\xfe" * 70_000)

        backend.put(
            {"public/moved.png": FIRST["public/logo.png"], "theirs.bin": b"\xfe" * 70_000}, ("public/logo.png",)
        )
        await client.until(lambda c: "theirs.bin" in c.place.files() and "public/logo.png" not in c.place.files())

        assert fetched == 1
        assert len([seen for seen in backend.seen if "blobs" in seen.path]) == fetched


async def test_now_asks_at_once(place: Place) -> None:
    backend = HonestBackend(PLAIN)
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 20)) as client:
        await client.until_on_disk()
        backend.put({PAGE: "2"})
        client.sync.poll_now()
        await client.until_on_disk()


async def test_now_ends_a_held_request_and_the_next_is_held_again(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 20)) as client:
        await client.until_on_disk()
        await backend.asked(2)
        client.sync.poll_now()
        await backend.asked(4)

        assert backend.answers()[2] == 304
        assert "Prefer" not in backend.seen[-2].headers
        assert backend.seen[-1].headers["Prefer"] == "wait=20"
        backend.put({PAGE: "2"})
        await client.until_on_disk()


async def test_now_sees_what_was_changed_on_the_disk(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend, timing=Timing(3600, 20)) as client:
        await client.until_on_disk()
        (place.workspace / PAGE).write_text("edited by hand")
        (place.workspace / "package.json").unlink()
        client.sync.poll_now()
        await client.until_on_disk()

        await client.until(lambda c: c.problems)
        (message,) = client.messages()
        assert PAGE in message
        (kept,) = (place.state / "conflicts").glob(f"*/{PAGE}")
        assert kept.read_text() == "edited by hand"

        backend.put({PAGE: "2"})
        await client.until(lambda c: not c.problems)


async def test_what_next_completes_is_not_drift(place: Place) -> None:
    backend = HonestBackend()
    backend.put({"tsconfig.json": "{}", "next-env.d.ts": "//", PAGE: "1"})
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        (place.workspace / "tsconfig.json").write_text('{"include": []}')
        (place.workspace / "next-env.d.ts").write_text("// by Next")
        (place.workspace / ".next").mkdir()
        client.sync.poll_now()
        await backend.asked(3)
        backend.put({PAGE: "2"})
        await client.until(lambda c: len(c.applied) == 2)

        assert client.problems == ()
        assert (place.workspace / "tsconfig.json").read_text() == '{"include": []}'
        backend.put({"tsconfig.json": '{"new": 1}'})
        await client.until(lambda c: len(c.applied) == 3)
        assert json.loads((place.workspace / "tsconfig.json").read_text()) == {"new": 1}
        assert client.problems == ()
        assert not (place.state / "conflicts").exists()


async def test_a_refused_path_is_named_and_the_rest_applied(place: Place) -> None:
    backend = HonestBackend()
    backend.put({PAGE: "1", "../evil.ts": "x", "node_modules/x.js": "x", "a": "x", "a/b": "x"})
    async with serving(backend), syncing(place, backend) as client:
        await client.until(lambda c: c.applied and c.problems)

        assert place.files() == {PAGE: b"1"}
        assert {problem.file for problem in client.problems} == {"../evil.ts", "node_modules/x.js", "a", "a/b"}
        backend.put({}, ("../evil.ts", "node_modules/x.js", "a", "a/b"))
        await client.until(lambda c: not c.problems)
    assert not (place.home / "evil.ts").exists()


@pytest.mark.parametrize("gone", ["a", "a/b"])
async def test_what_was_refused_for_want_of_room_comes_when_a_delta_makes_room(place: Place, gone: str) -> None:
    backend = HonestBackend()
    backend.put({PAGE: "1", "a": "x"})
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
        backend.put({"a/b": "y"})
        await client.until(lambda c: c.problems)
        assert "a" in place.files(), "what stood there stays"

        backend.put({}, (gone,))
        await client.until_on_disk()
        await client.until(lambda c: not c.problems)
        assert client.failures() == []


async def test_a_restarted_agent_whose_disk_matches_downloads_nothing(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend):
        async with syncing(place, backend) as client:
            await client.until_on_disk()
        before = {path: path.stat() for path in place.workspace.rglob("*") if path.is_file()}
        backend.seen.clear()

        async with syncing(place, backend, timing=Timing(3600, 3600)) as client:
            await client.until(lambda c: c.facts.state == "current")  # its first request is not held
            assert client.facts.applied_at is not None
            assert client.applied[0].revision == backend.revision
            assert client.applied[0].written == ()

        assert backend.answers()[0] == 304
        assert sum(seen.body for seen in backend.seen) == 0
        assert {path: (there.st_ino, there.st_mtime_ns) for path, there in before.items()} == {
            path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before
        }


async def test_what_changed_while_the_agent_was_away_comes_as_a_delta(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend):
        async with syncing(place, backend) as client:
            await client.until_on_disk()
        backend.seen.clear()
        backend.put({PAGE: "2"}, ("public/empty",))
        async with syncing(place, backend) as client:
            await client.until_on_disk()
        assert backend.answers()[0] == 226


async def test_a_backend_that_is_another_is_asked_for_everything(place: Place) -> None:
    backend = HonestBackend()
    backend.put(FIRST)
    async with serving(backend), syncing(place, backend) as client:
        await client.until_on_disk()
    disk = place.disk("http://elsewhere")
    disk.open()

    assert disk.manifest.etag is None
    assert len(disk.manifest.files) == len(FIRST)
    disk.close()


async def test_the_state_of_another_app_is_refused(place: Place) -> None:
    disk = place.disk()
    disk.open()
    disk.close()
    journal = place.state / "manifest.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"demo"', b'"other"'))

    with pytest.raises(ConfigError, match="belongs to 'other'"):
        place.disk().open()


async def test_a_cancelled_burst_ends_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = HonestBackend()
    backend.put({f"app/{number}.ts": "1" for number in range(300)})
    rename, loop = os.rename, asyncio.get_running_loop()
    moved = asyncio.Event()

    def slow(*arguments: object, **named: object) -> None:
        rename(*arguments, **named)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(moved.set)

    async with serving(backend):
        monkeypatch.setattr(os, "rename", slow)
        async with syncing(place, backend) as client:
            await moved.wait()
            assert client.applied == []
        assert len(place.files()) == 300
        assert not place.recorded().unclean


async def test_the_key_is_in_no_message(place: Place) -> None:
    backend = HonestBackend()
    async with serving(backend), syncing(place, backend) as client:
        backend.put({PAGE: KEY})
        await client.until_on_disk()
        assert KEY not in repr(client.history)
        assert KEY not in repr(client.sync.__dict__)
