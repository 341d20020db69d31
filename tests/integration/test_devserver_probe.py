"""What counts as an answer and as a sign of life, and the socket that tells of compiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from agent.devserver.frameworks.framework import HmrSocket
from agent.devserver.frameworks.nextjs import NEXT
from agent.devserver.nextjs import hmr_messages, hmr_socket, readiness

SOCKET = HmrSocket(("/_next/hmr", "/_next/webpack-hmr"), hmr_messages.read)


class Server:
    """Answers as told: `mode` may change while it runs."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.asked: list[str] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.mode == "hung":
            await asyncio.sleep(60)
        if request.path == "/__nextjs_server_status" and self.mode == "next":
            return web.json_response({"executionId": 7})
        if request.path == self.mode:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("hello")
            await socket.close()
            return socket
        if request.path.startswith("/_next/"):
            await asyncio.sleep(60)  # as Next does with an upgrade that it does not know
        return web.Response(status=404)


@asynccontextmanager
async def serving(server: Server, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.ServerRunner(web.Server(server), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(20):
            yield session
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ALIVE_SECONDS", 0.3)
    monkeypatch.setattr(hmr_socket, "CONNECT_SECONDS", 0.3)


async def test_any_status_is_an_answer(free_port: Callable[[], int]) -> None:
    port = free_port()
    async with serving(Server("other"), port) as session:
        await readiness.wait_for_answer(session, port)


async def test_the_first_answer_is_waited_for_while_the_port_is_closed(free_port: Callable[[], int]) -> None:
    port = free_port()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        answer = tasks.create_task(readiness.wait_for_answer(session, port))
        await asyncio.sleep(0.05)
        async with serving(Server("other"), port):
            await answer


async def test_next_is_alive_while_it_answers_its_path(free_port: Callable[[], int]) -> None:
    port = free_port()
    server = Server("next")
    async with serving(server, port) as session:
        liveness = readiness.LivenessCheck(session, port, NEXT.liveness)
        assert await liveness.alive()

        server.mode = "hung"
        assert not await liveness.alive(), "an open port was taken for a sign of life"


async def test_a_server_of_another_kind_is_alive_while_its_port_is_open(free_port: Callable[[], int]) -> None:
    port = free_port()
    server = Server("other")
    async with serving(server, port) as session:
        liveness = readiness.LivenessCheck(session, port, NEXT.liveness)
        assert await liveness.alive()

        server.mode = "hung"
        assert await liveness.alive()
    async with aiohttp.ClientSession() as session:
        assert not await readiness.LivenessCheck(session, port, NEXT.liveness).alive()


@pytest.mark.parametrize("path", SOCKET.paths)
async def test_the_socket_is_found_under_either_path_and_found_again(free_port: Callable[[], int], path: str) -> None:
    port = free_port()
    server = Server(path)
    heard: list[str] = []
    twice = asyncio.Event()

    def dropped() -> None:
        heard.append("dropped")
        if len(heard) == 4:
            twice.set()

    async with serving(server, port) as session, asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(
            hmr_socket.listen(session, port, SOCKET, prefix=lambda: "", on_message=heard.append, on_drop=dropped)
        )
        await twice.wait()
        listening.cancel()

    assert heard == ["hello", "dropped", "hello", "dropped"]
    found = SOCKET.paths[: SOCKET.paths.index(path) + 1]
    assert server.asked == [*found, path], "the path that worked is asked first"
