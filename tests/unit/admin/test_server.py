"""The endpoints that answer at once, on a real port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.admin.server import Actions, Admin
from agent.clock import Clock
from agent.config import Secret
from agent.errors import ConfigError, Occupied
from tests.peers.admin_port import KEY, Port, admin_port
from tests.peers.snapshots import READY, SYNCED

BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with admin_port() as open_port:
        yield open_port


class TestProbes:
    async def test_healthz_is_200_while_the_dev_server_may_still_heal(self, port: Port) -> None:
        for state in ("waiting", "starting", "ready", "unresponsive", "restarting"):
            port.board.dev_server(replace(READY, state=state))
            assert await port.get("/healthz") == (200, {"success": True})

    async def test_healthz_is_503_with_the_reason_once_it_gave_up(self, port: Port) -> None:
        port.board.dev_server(replace(READY, state="failed", reason="5 crashes in 10 minutes"))
        assert await port.get("/healthz") == (
            503,
            {"success": False, "error": "the dev server gave up: 5 crashes in 10 minutes"},
        )

    async def test_readyz_is_200_once_the_preview_can_be_looked_at(self, port: Port) -> None:
        assert await port.get("/readyz") == (200, {"success": True})

    async def test_readyz_is_503_and_names_everything_that_is_missing(self, port: Port) -> None:
        port.board.sync(replace(SYNCED, applied_at=None))
        port.board.dev_server(replace(READY, state="starting", reason="first start"))
        waits = ["the first sync is not on disk", "the dev server is starting: first start"]
        assert await port.get("/readyz") == (503, {"success": False, "error": "; ".join(waits), "missing": waits})


class TestStatus:
    async def test_it_is_the_whole_snapshot_with_uptime_and_versions(self) -> None:
        now = 1000.0
        async with admin_port(clock=Clock(monotonic=lambda: now)) as port:
            now += 12.5
            status, shown = await port.get("/status")
        assert status == 200
        assert shown["phase"] == "running"
        assert shown["health"] == {"ok": True, "reason": None}
        assert shown["missing"] == []
        assert shown["sync"] == {**shown["sync"], "revision": 214, "etag": '"r214"', "files": 12}
        assert shown["dev_server"] == {**shown["dev_server"], "state": "ready", "restarts": 3}
        assert shown["uptime_seconds"] == 12.5
        assert shown["versions"] == {**shown["versions"], "agent": "0.1.0", "aiohttp": aiohttp.__version__}

    async def test_it_never_shows_the_key(self, port: Port) -> None:
        for path in ("/status", "/metrics"):
            async with port.client.get(path, headers=BEARER) as response:
                assert KEY not in await response.text()


class TestMetrics:
    async def test_they_are_the_prometheus_text_format_with_the_agents_own_process(self, port: Port) -> None:
        async with port.client.get("/metrics") as response:
            text = await response.text()
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        values = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
        assert values["preview_sync_revision"] == 214
        assert values["preview_agent_resident_memory_bytes"] > 2**20
        assert values["preview_agent_cpu_seconds_total"] > 0
        assert values["preview_agent_open_fds"] > 2

    async def test_each_scrape_sees_what_is_true_then(self, port: Port) -> None:
        port.board.sync(replace(SYNCED, revision=215))
        async with port.client.get("/metrics") as response:
            assert "preview_sync_revision 215.0" in await response.text()


class TestLogs:
    async def test_they_are_plain_utf_8_text_of_what_was_kept(self, port: Port) -> None:
        port.output.kept = ["▲ Next.js", "ready", "odd \udcff"]
        async with port.client.get("/logs") as response:
            assert await response.text("utf-8") == "▲ Next.js\nready\nodd ?\n"
            assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(("lines", "expected"), [("0", ""), ("1", "c\n"), ("2", "b\nc\n"), ("99", "a\nb\nc\n")])
    async def test_lines_is_how_many_of_the_last_are_sent(self, port: Port, lines: str, expected: str) -> None:
        port.output.kept = ["a", "b", "c"]
        async with port.client.get("/logs", params={"lines": lines}) as response:
            assert await response.text() == expected

    @pytest.mark.parametrize(
        ("query", "says"),
        [
            ({"lines": "abc"}, "lines is 'abc'"),
            ({"lines": "-1"}, "lines is '-1'"),
            ({"lines": ""}, "lines is ''"),
            ({"lines": "1" * 10}, "lines is '1111111111'"),
            ({"follow": "yes"}, "follow is 'yes'"),
        ],
    )
    async def test_a_wrong_parameter_is_400_and_named(self, port: Port, query: dict[str, str], says: str) -> None:
        async with port.client.get("/logs", params=query) as response:
            assert response.status == 400
            assert (await response.json())["error"].startswith(says)


class TestActing:
    @pytest.mark.parametrize(
        ("path", "asked"),
        [("/sync", ["sync"]), ("/restart", ["restart: asked for by POST /restart"]), ("/sleep", ["sleep"])],
    )
    async def test_whoever_has_the_key_is_obeyed(self, port: Port, path: str, asked: list[str]) -> None:
        async with port.client.post(path, headers=BEARER) as response:
            assert response.status == 202
            assert await response.json() == {"success": True}
        assert port.asked == asked

    @pytest.mark.parametrize("path", ["/sync", "/restart", "/sleep"])
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
    async def test_others_are_told_which_credential_is_taken(
        self, port: Port, path: str, headers: dict[str, str]
    ) -> None:
        async with port.client.post(path, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            answer = await response.json()
        assert answer["success"] is False
        assert "API_KEY" in answer["error"]
        assert port.asked == []

    async def test_without_a_key_nobody_is_obeyed(self) -> None:
        async with admin_port(key=None) as port, port.client.post("/sync", headers=BEARER) as response:
            assert response.status == 401
            assert "without API_KEY" in (await response.json())["error"]
            assert port.asked == []

    async def test_an_agent_that_stops_takes_no_more_work(self, port: Port) -> None:
        port.board.stopping()
        async with port.client.post("/restart", headers=BEARER) as response:
            assert response.status == 503
        assert port.asked == []


class TestHttp:
    async def test_what_does_not_exist_is_a_404_in_the_contracts_form(self, port: Port) -> None:
        assert await port.get("/nope") == (404, {"success": False, "error": "there is no /nope here"})

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [("POST", "/status", "GET, HEAD"), ("GET", "/sync", "POST"), ("PUT", "/logs", "GET, HEAD")],
    )
    async def test_a_wrong_method_is_a_405_that_says_which_is_right(
        self, port: Port, method: str, path: str, allow: str
    ) -> None:
        async with port.client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"] == allow
            assert await response.json() == {"success": False, "error": f"{path} takes {allow}, not {method}"}

    @pytest.mark.parametrize(
        "path", ["/healthz", "/readyz", "/status", "/metrics", "/events", "/logs", "/logs?follow=1"]
    )
    async def test_head_is_answered_like_get_without_a_body(self, port: Port, path: str) -> None:
        async with port.client.head(path) as response:
            assert response.status == 200
            assert await response.read() == b""
            assert response.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("path", ["/healthz", "/metrics", "/events", "/logs", "/logs?follow=1", "/sync", "/nope"])
    async def test_every_answer_is_kept_by_nobody_and_is_what_it_says_it_is(self, port: Port, path: str) -> None:
        async with port.client.get(path) as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Content-Type-Options"] == "nosniff"

    async def test_a_defect_is_a_500_in_the_contracts_form_and_the_next_request_is_served(self, port: Port) -> None:
        def lines() -> list[str]:
            raise KeyError("broken")

        port.output.lines = lines  # type: ignore[method-assign]
        status, answer = await port.get("/logs")
        assert status == 500
        assert answer["success"] is False
        assert "broken" not in json.dumps(answer)
        assert (await port.get("/healthz"))[0] == 200


class TestPort:
    async def test_a_taken_port_is_named_with_its_holder(self, port: Port) -> None:
        other = Admin(
            board=port.board,
            key=Secret(KEY),
            logs=port.output,
            actions=Actions(sync=lambda: None, restart=lambda _: None, sleep=lambda: None),
            clock=Clock(),
        )
        with pytest.raises(Occupied, match=rf"^AGENT_PORT {port.admin.port} is taken by \S+ \(pid \d+\): "):
            await other.start(port.admin.port, "127.0.0.1")
        await other.stop()
        assert (await port.get("/healthz"))[0] == 200

    async def test_an_address_that_is_not_this_machines_is_a_config_error(self, port: Port) -> None:
        other = Admin(
            board=port.board,
            key=None,
            logs=port.output,
            actions=Actions(sync=lambda: None, restart=lambda _: None, sleep=lambda: None),
            clock=Clock(),
        )
        with pytest.raises(ConfigError, match=r"^AGENT_PORT 1234 cannot be listened on"):
            await other.start(1234, "192.0.2.1")
        assert other._server is None

    async def test_it_can_be_stopped_twice_and_before_it_was_started(self, port: Port) -> None:
        await port.admin.stop()
        await port.admin.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await port.get("/healthz")

    async def test_a_cancelled_stop_can_be_repeated(self, port: Port) -> None:
        stopping = asyncio.create_task(port.admin.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await port.admin.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await port.get("/healthz")
