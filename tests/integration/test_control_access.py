"""Who may ask, what is refused and how it is said: keys, bad input, activity."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import Secret
from agent.paths import MAX_ANSWER_BYTES, MAX_FILE_BYTES
from control import activity
from control.auth.keys import digest
from tests.peers.control import Answer, Plane, plane

REPORT = {
    "state": "running",
    "machine": "m1",
    "revision": 3,
    "etag": None,
    "dev_server": {"state": "ready"},
    "problems": [{"source": "compile", "message": "x"}],
    "receipts": [],
    "of_a_later_version": {"kept": True},
}


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Plane]:
    async with plane(tmp_path) as running:
        running.store.add_app("other")
        running.store.add_key("other", digest(Secret("key-of-other")))
        yield running


@pytest.mark.parametrize("tail", ["files", "files/blobs/" + "0" * 64, "activity"])
@pytest.mark.parametrize("app", ["demo", "nobody"])
@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer wrong", "Bearer", "Bearer  ", "Basic test-key-of-demo", "test-key-of-demo", "Bearer é"],
)
async def test_without_a_key_that_opens_something_it_is_401_whether_the_app_exists_or_not(
    demo: Plane, authorization: str | None, app: str, tail: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with demo.session.get(f"{demo.url}/api/vendor/apps/{app}/{tail}", headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await answer.json())["success"] is False


async def test_a_key_opens_its_app_and_no_other(demo: Plane) -> None:
    opens = {"Authorization": "bearer key-of-other"}
    assert (await demo.ask("GET", f"{demo.url}/api/vendor/apps/other/files", opens)).status == 200
    refused = await demo.ask("GET", f"{demo.url}/api/vendor/apps/demo/files", opens)
    assert (refused.status, refused.json()["success"]) == (403, False)
    missing = await demo.ask("GET", f"{demo.url}/api/vendor/apps/nobody/files", opens)
    assert (missing.status, missing.json()) == (404, {"success": False, "error": "there is no app 'nobody'"})


async def test_apps_do_not_see_each_others_files(demo: Plane) -> None:
    await demo.put({"secret": "1"})
    opens = {"Authorization": "Bearer key-of-other"}
    other = f"{demo.url}/api/vendor/apps/other/files"
    assert (await demo.ask("GET", other, opens)).json()["files"] == []
    entry = (await demo.files()).json()["files"][0]
    assert (await demo.ask("GET", f"{other}/blobs/{entry['content_hash']}", opens)).status == 404


async def test_another_address_is_404_as_json_and_health_needs_no_key(demo: Plane) -> None:
    assert (await demo.ask("GET", demo.url + "/nowhere")).json()["success"] is False
    async with demo.session.get(demo.url + "/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"nope", 400, "not JSON"),
        ({"files": [{"filepath": "a", "content": 1}]}, 400, "files[0] ('a') has a content that is a number, not text"),
        ({"files": [{"filepath": "../a", "content": ""}]}, 400, "files[0].filepath ('../a') has a '..' part"),
        ({"files": [{"filepath": "stored/x", "content": ""}]}, 409, "'stored/x' cannot be stored: 'stored' is a file"),
        ({"files": [{"filepath": "folder", "content": ""}]}, 409, "'folder' cannot be a file"),
        (
            {
                "files": [
                    {
                        "filepath": "a",
                        "content": base64.b64encode(bytes(MAX_FILE_BYTES + 1)).decode(),
                        "encoding": "base64",
                    }
                ]
            },
            413,
            "files[0] ('a') has 10,485,761 bytes",
        ),
    ],
)
async def test_a_bad_put_is_refused_by_name_and_changes_nothing(demo: Plane, body: Any, status: int, says: str) -> None:
    before = await demo.put({"stored": "1", "folder/x": "1"})
    if isinstance(body, dict):
        body["files"].insert(0, {"filepath": "fine", "content": "x"})
        says = says.replace("files[0]", "files[1]")
    answer = await demo.put_raw(body)
    assert (answer.status, answer.json()["success"]) == (status, False)
    assert says in answer.json()["error"]
    assert (await demo.files()).headers["ETag"] == before["etag"]


async def test_a_body_over_the_limit_is_413_said_or_not(demo: Plane) -> None:
    said = await demo.put_raw(bytes(MAX_ANSWER_BYTES + 1))
    assert (said.status, "67,108,864" in said.json()["error"]) == (413, True)

    async def unsaid() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield bytes(1024 * 1024)

    assert (await demo.ask("PUT", demo.app + "/files", data=unsaid())).status == 413


async def test_a_put_that_breaks_off_changes_nothing(demo: Plane) -> None:
    reader, writer = await asyncio.open_connection(*demo.url[7:].split(":"))
    writer.write(
        b"PUT /api/vendor/apps/demo/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        b'Authorization: Bearer test-key-of-demo\r\n\r\n{"files":[]}'
    )
    await writer.drain()
    writer.close()
    assert await reader.read() == b""
    assert (await demo.put({"a": "1"}))["revision"] == 1


async def report(demo: Plane, body: Any) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await demo.ask("POST", demo.app + "/activity", data=io.BytesIO(data))


async def test_the_newest_report_of_each_machine_is_kept_unknown_keys_and_all(demo: Plane) -> None:
    assert (await report(demo, REPORT)).json() == {"success": True}
    await report(demo, REPORT | {"machine": "m2"})
    await report(demo, REPORT | {"state": "sleeping"})
    said = (await demo.ask("GET", demo.app + "/activity")).json()
    machines = {machine.pop("machine"): machine for machine in said["machines"]}
    assert all(machine.pop("received_at").endswith("Z") for machine in machines.values())
    expected = {key: value for key, value in REPORT.items() if key != "machine"}
    assert machines == {"m1": expected | {"state": "sleeping"}, "m2": expected}


async def test_a_report_is_answered_with_the_editors_own_activity(demo: Plane) -> None:
    await demo.put({"a": "1"})
    at = (await report(demo, REPORT)).json()["last_activity_at"]
    assert at == (await demo.files()).json()["files"][0]["updated_at"]
    assert (await demo.ask("GET", demo.app + "/activity")).json()["last_activity_at"] == at


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        ([], "not a JSON object"),
        (REPORT | {"state": "asleep"}, "state is not one of"),
        (REPORT | {"state": ["running"]}, "state is not one of"),
        (REPORT | {"machine": ""}, "machine is not"),
        (REPORT | {"machine": "x" * 129}, "machine is not"),
        (REPORT | {"revision": True}, "revision is neither"),
        (REPORT | {"etag": 4}, "etag is neither"),
        (REPORT | {"dev_server": "ready"}, "dev_server is neither"),
        (REPORT | {"problems": {}}, "problems is not"),
        (REPORT | {"receipts": [1]}, "receipts is not"),
    ],
)
async def test_a_report_of_the_wrong_form_is_refused_by_name(demo: Plane, body: Any, says: str) -> None:
    answer = await report(demo, body)
    assert answer.status == 400
    assert says in answer.json()["error"]


async def test_a_report_without_an_end_is_refused(demo: Plane) -> None:
    assert (await report(demo, b" " * (activity.MAX_BYTES + 1))).status == 413
