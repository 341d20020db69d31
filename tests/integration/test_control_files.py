"""The files API over a real socket and a real database: every extra of the contract, one by one."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.files import routes as module
from control.serve import Options
from tests.peers.control import DELTA, LINES, Answer, Plane, plane

HELD = DELTA | {"Prefer": "wait=20"}


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Plane]:
    async with plane(tmp_path) as running:
        yield running


async def held(demo: Plane, answer: Answer) -> asyncio.Task[Answer]:
    """A held request of one whose last answer was `answer`: already waiting when this returns."""
    waiting = asyncio.create_task(demo.files(HELD | {"If-None-Match": answer.headers["ETag"]}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    return waiting


async def test_the_plain_form_is_the_whole_set_with_every_column(demo: Plane) -> None:
    await demo.put({"app/page.tsx": "é", ".env": "A=1"})
    answer = await demo.files()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "Preference-Applied" not in answer.headers
    said = answer.json()
    assert (said["success"], set(said)) == (True, {"success", "files"})
    env, page = said["files"]
    assert env["filepath"] == ".env"
    assert page["content_hash"] == hashlib.sha256("é".encode()).hexdigest()
    assert {key: page[key] for key in ("filepath", "content", "file_type", "size", "revision")} == {
        "filepath": "app/page.tsx",
        "content": "é",
        "file_type": "tsx",
        "size": 2,
        "revision": 1,
    }
    assert page["created_at"] == page["updated_at"] == env["updated_at"]


async def test_a_set_without_files_is_an_empty_one(demo: Plane) -> None:
    assert (await demo.files()).json() == {"success": True, "files": []}
    assert (await demo.files(LINES)).lines() == []


async def test_the_put_answers_with_what_the_next_get_says(demo: Plane) -> None:
    said = await demo.put({"a": "1", "b": "2"})
    answer = await demo.files()
    assert said == {"success": True, "revision": 1, "etag": answer.headers["ETag"], "changed": 2, "deleted": 0}
    assert answer.headers["Preview-Revision"] == "1"
    assert (await demo.put({"a": "1"})) == said | {"changed": 0}
    assert (await demo.put({}, ("a", "never")))["deleted"] == 1


async def test_a_tag_that_is_current_is_304_without_a_body(demo: Plane) -> None:
    await demo.put({"a": "1"})
    tag = (await demo.files()).headers["ETag"]
    assert not tag.startswith("W/")
    answer = await demo.files({"If-None-Match": tag})
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert answer.headers["Vary"] == "Accept, Accept-Encoding, A-IM"


async def test_head_says_the_same_without_the_body_and_another_method_what_is_allowed(demo: Plane) -> None:
    await demo.put({"a": "1"})
    got, head = await demo.files(), await demo.files(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    same = ("ETag", "Preview-Revision", "Content-Type", "Vary", "Cache-Control")
    assert [head.headers[name] for name in same] == [got.headers[name] for name in same]
    refused = await demo.files(method="DELETE")
    assert refused.status == 405
    assert refused.json()["success"] is False
    assert refused.headers["Allow"] == "GET,HEAD,PUT"


async def test_a_held_request_is_answered_by_the_change(demo: Plane) -> None:
    await demo.put({"a": "1", "b": "1"})
    waiting = await held(demo, await demo.files())
    await demo.put({"a": "2"}, ("b",))
    answer = await waiting
    assert answer.status == 226
    assert answer.headers["Preference-Applied"] == "wait=20"
    changed, gone = answer.lines()
    assert (changed["filepath"], changed["content"]) == ("a", "2")
    assert gone == {"filepath": "b", "deleted": True}


async def test_a_held_request_is_not_answered_by_what_changes_nothing(demo: Plane) -> None:
    await demo.put({"a": "1"})
    waiting = await held(demo, await demo.files())
    await demo.put({"a": "1"})
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await demo.put({"a": "2"})
    assert (await waiting).status == 226


async def test_a_held_request_ends_with_304_when_its_time_is_over(demo: Plane) -> None:
    await demo.put({"a": "1"})
    tag = (await demo.files()).headers["ETag"]
    answer = await demo.files({"If-None-Match": tag, "Prefer": "wait=1"})
    assert (answer.status, answer.headers["Preference-Applied"]) == (304, "wait=1")


async def test_a_wait_that_is_not_needed_counts_as_applied(demo: Plane) -> None:
    await demo.put({"a": "1"})
    for headers in ({"Prefer": "wait=99"}, {"Prefer": "wait=99", "If-None-Match": '"other"'}):
        answer = await demo.files(headers)
        assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=60")


async def test_a_held_request_whose_client_went_away_is_forgotten(demo: Plane) -> None:
    await demo.put({"a": "1"})
    waiting = await held(demo, await demo.files())
    waiting.cancel()
    await asyncio.wait([waiting])
    waiting = await held(demo, await demo.files())
    demo.stop.set()
    assert (await waiting).status == 304


async def test_stopping_answers_held_requests_and_ends(demo: Plane) -> None:
    await demo.put({"a": "1"})
    waiting = await held(demo, await demo.files())
    demo.stop.set()
    answer = await waiting
    assert (answer.status, answer.headers["Connection"]) == (304, "close")
    async with asyncio.timeout(5):
        await demo.served


async def test_a_delta_names_its_base_as_it_was_sent(demo: Plane) -> None:
    await demo.put({"a": "1", "b": "1"})
    old = (await demo.files()).headers["ETag"]
    await demo.put({"a": "2"}, ("b",))
    for base in (old, f"W/{old}"):
        answer = await demo.files({"A-IM": "files-delta", "If-None-Match": f'"other", {base}'})
        assert answer.status == 226
        assert (answer.headers["IM"], answer.headers["Delta-Base"]) == ("files-delta", base)
        assert answer.headers["ETag"] == (await demo.files()).headers["ETag"] != old
        said = answer.json()
        assert ([entry["filepath"] for entry in said["files"]], said["deleted"]) == (["a"], ["b"])


async def test_without_a_base_of_ours_or_without_asking_it_is_the_whole_set(demo: Plane) -> None:
    await demo.put({"a": "1"})
    old = (await demo.files()).headers["ETag"]
    await demo.put({"a": "2"})
    assert (await demo.files({"A-IM": "files-delta"})).status == 200
    assert (await demo.files({"A-IM": "files-delta", "If-None-Match": '"ours-1"'})).status == 200
    assert (await demo.files({"If-None-Match": old})).status == 200


async def test_if_match_protects_a_put_from_what_it_has_not_seen(demo: Plane) -> None:
    first = await demo.put({"a": "1"})
    body = {"files": [{"filepath": "a", "content": "2"}]}
    assert (await demo.put_raw(body, {"If-Match": first["etag"]})).status == 200
    stale = await demo.put_raw(body, {"If-Match": first["etag"]})
    assert stale.status == 412
    assert stale.headers["ETag"] == (await demo.files()).headers["ETag"]
    assert (await demo.files({"If-Match": first["etag"]})).status == 412


async def test_what_is_large_or_no_text_goes_out_as_a_blob(demo: Plane) -> None:
    await demo.put({"big.json": "é" * 40_000})
    await demo.put_raw({"files": [{"filepath": "a.png", "content": "/wAB", "encoding": "base64"}]})
    for answer in (await demo.files(LINES)).lines(), (await demo.files()).json()["files"]:
        png, big = answer
        assert "content" not in png | big
        for entry, data in ((png, b"\xff\0\1"), (big, "é".encode() * 40_000)):
            assert (entry["content_hash"], entry["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
            blob = await demo.ask("GET", f"{demo.app}/files/blobs/{entry['content_hash']}")
            assert (blob.status, blob.body) == (200, data)
            assert "immutable" in blob.headers["Cache-Control"]


async def test_a_blob_is_had_in_parts_and_only_once(demo: Plane) -> None:
    data = ("0123456789" * 40_000).encode()
    await demo.put({"big.txt": data.decode()})
    address = f"{demo.app}/files/blobs/{hashlib.sha256(data).hexdigest()}"
    part = await demo.ask("GET", address, {"Range": "bytes=350000-"})
    assert (part.status, part.body) == (206, data[350_000:])
    assert part.headers["Content-Range"] == "bytes 350000-399999/400000"
    tag = part.headers["ETag"]
    assert (await demo.ask("GET", address, {"Range": "bytes=1-2", "If-Range": tag})).body == b"12"
    assert (await demo.ask("GET", address, {"Range": "bytes=1-2", "If-Range": '"x"'})).status == 200
    beyond = await demo.ask("GET", address, {"Range": "bytes=400000-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */400000")
    assert (await demo.ask("GET", address, {"If-None-Match": tag})).status == 304
    head = await demo.ask("HEAD", address)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "400000", b"")


async def test_a_blob_that_no_file_has_is_404(demo: Plane) -> None:
    await demo.put({"a": "1"})
    sha256 = hashlib.sha256(b"1").hexdigest()
    assert (await demo.ask("GET", f"{demo.app}/files/blobs/{sha256}")).status == 200
    await demo.put({}, ("a",))
    assert (await demo.ask("GET", f"{demo.app}/files/blobs/{sha256}")).status == 404
    assert (await demo.ask("GET", f"{demo.app}/files/blobs/xyz")).status == 404


async def test_gzip_goes_to_those_who_take_it_but_not_for_a_few_bytes(tmp_path: Path) -> None:
    async with plane(tmp_path, Options(gzip_near=True)) as demo:
        await demo.put({"small": "x"})
        assert "Content-Encoding" not in (await demo.files({"Accept-Encoding": "gzip"})).headers
        for size in (10_000, 300_000):
            await demo.put({f"{size}-{number}": "x" * (size // 10) for number in range(10)})
            plain = await demo.files({"Accept-Encoding": "identity"})
            for form in ({}, LINES):
                answer = await demo.files(form | {"Accept-Encoding": "gzip"})  # the session unpacks it
                assert answer.headers["Content-Encoding"] == "gzip"
                assert answer.headers["ETag"] == plain.headers["ETag"]
            assert (await demo.files({"Accept-Encoding": "gzip"})).body == plain.body
            assert "Content-Encoding" not in plain.headers


async def test_a_client_on_this_machine_gets_gzip_only_when_it_takes_nothing_else(demo: Plane) -> None:
    await demo.put({"a": "x" * 10_000})
    assert "Content-Encoding" not in (await demo.files({"Accept-Encoding": "gzip"})).headers
    assert (await demo.files({"Accept-Encoding": "gzip, identity;q=0"})).headers["Content-Encoding"] == "gzip"


async def test_a_put_may_come_compressed(demo: Plane) -> None:
    body = gzip.compress(b'{"files":[{"filepath":"a","content":"x"}]}')
    assert (await demo.put_raw(body, {"Content-Encoding": "gzip"})).status == 200
    broken = await demo.put_raw(body[:-9] + b"123456789", {"Content-Encoding": "gzip"})
    assert broken.status == 400


async def test_a_stream_is_one_moment_however_slowly_it_is_taken(demo: Plane) -> None:
    names = [f"f{number:04}" for number in range(2_000)]
    await demo.put(dict.fromkeys(names, "old " * 1_000))
    headers = LINES | {"Authorization": "Bearer test-key-of-demo"}
    async with asyncio.timeout(20), demo.session.get(demo.app + "/files", headers=headers) as answer:
        first = await answer.content.readline()
        await demo.put(dict.fromkeys(names[1_000:], "new " * 1_000), tuple(names[:1_000]))
        rest = await answer.read()
    whole = Answer(answer.status, answer.headers, first + rest)
    assert [line["content"] for line in whole.lines()] == ["old " * 1_000] * 2_000
    assert whole.headers["Preview-Revision"] == "1"
    assert {line["content"] for line in (await demo.files(LINES)).lines()} == {"new " * 1_000}


async def test_a_large_delta_is_as_good_as_a_small_one(demo: Plane) -> None:
    await demo.put({"gone": "1", "kept": "1"})
    tag = (await demo.files()).headers["ETag"]
    many = {f"f{number:03}": "x" * 1_000 for number in range(300)}
    await demo.put(many, ("gone",))
    for headers in (DELTA, {"A-IM": "files-delta"}):
        answer = await demo.files(headers | {"If-None-Match": tag})
        assert (answer.status, answer.headers["Delta-Base"]) == (226, tag)
    said = answer.json()
    assert {entry["filepath"]: entry["content"] for entry in said["files"]} == many
    assert said["deleted"] == ["gone"]
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_a_stream_that_the_stop_breaks_off_has_no_end(demo: Plane) -> None:
    for part in range(6):
        await demo.put({f"f{part}-{number}": "x" * 60_000 for number in range(100)})
    headers = LINES | {"Authorization": "Bearer test-key-of-demo"}
    async with asyncio.timeout(20), demo.session.get(demo.app + "/files", headers=headers) as answer:
        first = await answer.content.readline()
        demo.stop.set()
        await demo.served
        with pytest.raises(Exception, match=r"payload|closed"):  # the first line is had, the rest is cut
            first += await answer.read()
    assert b'"end"' not in first


async def test_a_set_that_is_too_large_for_json_is_had_as_a_stream(
    demo: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.files.entries.MAX_ANSWER_BYTES", 200_000)
    await demo.put({f"f{number}": "x" * 1_000 for number in range(300)})
    answer = await demo.files()
    assert answer.status == 406
    assert "application/x-ndjson" in answer.json()["error"]
    assert len((await demo.files(LINES)).lines()) == 300


async def test_a_client_that_takes_no_form_is_told_which_there_are(demo: Plane) -> None:
    answer = await demo.files({"Accept": "text/html"})
    assert answer.status == 406
    assert "application/x-ndjson" in answer.json()["error"]


async def test_a_client_that_stops_reading_is_given_up(
    demo: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.2)
    for part in range(6):
        await demo.put({f"f{part}-{number}": "x" * 60_000 for number in range(100)})
    reader, writer = await asyncio.open_connection(*demo.url[7:].split(":"), limit=1_000)
    writer.write(
        b"GET /api/vendor/apps/demo/files HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n"
        b"Authorization: Bearer test-key-of-demo\r\n\r\n"
    )
    await reader.readline()
    await asyncio.sleep(0.5)
    got = b""
    async with asyncio.timeout(10):
        try:
            while more := await reader.read(1 << 20):
                got += more
        except ConnectionError:
            pass
    writer.close()
    assert b'"end"' not in got
    assert not caplog.records  # nothing failed: that a client goes is no error of the server
