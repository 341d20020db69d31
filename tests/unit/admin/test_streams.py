"""/events and /logs?follow=1 on a real port: what clients see, and what is left of those who leave."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from agent.admin import streams
from agent.admin.streams import Streams
from agent.status import Problem
from tests.peers.admin_port import DEADLINE, Port, admin_port, next_event, until
from tests.peers.snapshots import READY, SYNCED


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with admin_port() as open_port:
        yield open_port


class TestEvents:
    async def test_a_client_is_told_the_whole_first_and_then_what_changes(self, port: Port) -> None:
        async with port.client.get("/events") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            first = await next_event(response)
            assert (first["id"], first["event"]) == ("0", "snapshot")
            state = json.loads(first["data"])
            assert state["sync"]["revision"] == 214

            port.board.sync(replace(SYNCED, revision=215))
            change = await next_event(response)
            assert (change["id"], change["event"]) == ("1", "change")
            assert list(json.loads(change["data"])) == ["sync"]
            state |= json.loads(change["data"])

            port.board.problems("compile", (Problem("compile", "Unexpected token\nhere", "app/page.tsx", 12),))
            state |= json.loads((await next_event(response))["data"])
        _, status = await port.get("/status")
        del status["uptime_seconds"]
        assert state == status

    async def test_facts_that_change_in_one_burst_are_told_together(self, port: Port) -> None:
        async with port.client.get("/events") as response:
            await next_event(response)
            for revision in range(215, 315):
                port.board.sync(replace(SYNCED, revision=revision))
            change = json.loads((await next_event(response))["data"])
            assert change["sync"]["revision"] == 314

    async def test_many_clients_are_told_the_same(self, port: Port) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(port.client.get("/events")) for _ in range(50)]
            for client in clients:
                assert (await next_event(client))["event"] == "snapshot"
            port.board.dev_server(replace(READY, restarts=4))
            for client in clients:
                assert json.loads((await next_event(client))["data"])["dev_server"]["restarts"] == 4

    async def test_a_client_that_connects_again_gets_the_whole_again(self, port: Port) -> None:
        async with port.client.get("/events", headers={"Last-Event-ID": "7"}) as response:
            assert (await next_event(response))["event"] == "snapshot"

    async def test_more_clients_than_are_served_are_told_so(self, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(port.admin._streams, "_limit", 1)
        async with port.client.get("/events") as response:
            await next_event(response)
            assert (await port.get("/events"))[0] == 503
            assert (await port.get("/status"))[0] == 200


class TestFollowedLogs:
    async def test_the_last_lines_come_first_and_then_each_new_one(self, port: Port) -> None:
        port.output.kept = ["a", "b", "c"]
        async with port.client.get("/logs?follow=1&lines=2") as response:
            assert await response.content.readexactly(4) == b"b\nc\n"
            port.output.say("d")
            assert await response.content.readline() == b"d\n"
            port.output.say("é")
            assert await response.content.readline() == "é\n".encode()

    async def test_the_answer_begins_before_there_is_a_line(self, port: Port) -> None:
        async with port.client.get("/logs?follow=1") as response:
            assert response.status == 200

    async def test_the_end_of_the_log_is_the_end_of_the_answer(self, port: Port) -> None:
        async with port.client.get("/logs?follow=1&lines=0") as response:
            await until(lambda: port.output.followers)
            port.output.say("last")
            port.output.say(None)
            assert await response.read() == b"last\n"


class TestEnds:
    @pytest.mark.parametrize("path", ["/events", "/logs?follow=1"])
    async def test_a_client_that_vanishes_leaves_no_task_and_no_follower(self, port: Port, path: str) -> None:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port.admin.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        await until(lambda: len(port.admin._streams) == 0)
        await until(lambda: not [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)])
        assert port.output.followers == []

    async def test_a_stop_ends_every_stream_properly(self, port: Port) -> None:
        async with port.client.get("/events") as told, port.client.get("/logs?follow=1") as followed:
            await next_event(told)
            port.board.stopping()
            assert json.loads((await next_event(told))["data"])["phase"] == "stopping"
            await port.admin.stop()
            assert await told.content.read() == b""
            assert await followed.content.read() == b""
        assert len(port.admin._streams) == 0
        assert port.output.followers == []

    async def test_a_stop_waits_for_no_client_that_does_not_read(self, port: Port) -> None:
        silent = await _connected(port.admin.port, "/logs?follow=1")
        await until(lambda: port.output.followers)
        port.output.say("x" * 8_000_000)
        await until(lambda: len(port.admin._streams) == 1)
        async with asyncio.timeout(DEADLINE):
            await port.admin.stop()
        assert len(port.admin._streams) == 0
        silent.close()

    async def test_a_stop_waits_for_no_client_that_never_ends_its_request(self, port: Port) -> None:
        asking = await _connected(port.admin.port, "/status")
        await asyncio.get_running_loop().sock_sendall(asking, b"GET /status HTTP/1.1\r\nHost:")
        posting = await _connected(port.admin.port, "/status")
        await asyncio.get_running_loop().sock_sendall(
            posting, b"POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        )
        await port.get("/healthz")
        async with asyncio.timeout(DEADLINE):
            await port.admin.stop()
        asking.close()
        posting.close()


class TestSlowClients:
    async def test_one_that_takes_nothing_is_dropped_and_costs_no_other_anything(self) -> None:
        open_streams = Streams(write_seconds=0.05)
        ended = asyncio.Event()

        async def flood() -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                ended.set()

        async def answer(request: web.Request) -> web.StreamResponse:
            return await open_streams.send(request, web.StreamResponse(), flood())

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            silent = await _connected(runner.addresses[0][1], "/")
            async with asyncio.timeout(DEADLINE):
                await ended.wait()
            await until(lambda: len(open_streams) == 0)
            received = await asyncio.to_thread(_drain, silent)
            assert not received.endswith(b"0\r\n\r\n"), "the client must not take the cut for the end"
            silent.close()
        finally:
            await runner.cleanup()

    def test_what_is_kept_for_a_client_has_a_bound(self) -> None:
        assert 0 < streams.MAX_STREAMS <= 100
        assert streams.WRITE_SECONDS <= 30


async def _connected(port: int, path: str) -> socket.socket:
    """A client that asks and then never reads, with a small buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sock


def _drain(sock: socket.socket) -> bytes:
    sock.settimeout(DEADLINE)
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))
