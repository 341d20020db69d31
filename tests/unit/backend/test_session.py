"""The session to the backend against a real server: credentials that are renewed, connections that are given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from agent.backend.resolver import Names
from agent.backend.session import CONNECT_SECONDS, QUICK_CONNECT_SECONDS, Session, fixed, open_session
from agent.clock import Clock
from agent.config import Secret
from agent.errors import NoToken

DEADLINE = 10.0


class Renewed:
    """A credential of numbered keys, the next one after each doubt that is granted."""

    def __init__(self, grants: int = 99) -> None:
        self.keys = [Secret("key-0")]
        self._grants = grants

    async def __call__(self) -> Secret | None:
        return self.keys[-1]

    def doubt(self, key: Secret | None) -> bool:
        if len(self.keys) > self._grants:
            return False
        self.keys.append(Secret(f"key-{len(self.keys)}"))
        return True


@dataclass
class Peer:
    """A backend that takes one key, and holds what is asked of /held until it is broken off."""

    takes: str = "key-0"
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    peers: list[object] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        said = request.headers.get("Authorization", "nothing")
        self.asked.append((said, (await request.read()).decode()))
        self.peers.append(request.transport.get_extra_info("peername") if request.transport else None)
        if request.path == "/held":
            self.held.set()
            await asyncio.Event().wait()
        if request.path == "/elsewhere":
            raise web.HTTPFound("/")
        return web.Response(status=200 if said == f"Bearer {self.takes}" else 401)


@asynccontextmanager
async def peer(takes: str = "key-0") -> AsyncIterator[Peer]:
    made = Peer(takes)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with asyncio.timeout(DEADLINE):
            yield made
    finally:
        await runner.cleanup()


async def get(session: Session, url: str) -> int:
    async with await session.get(url, headers={}, silence=60, total=60, read_bufsize=2**16) as response:
        await response.read()
        return response.status


async def post(session: Session, url: str, data: bytes) -> int:
    async with await session.post(url, headers={}, data=data) as response:
        return response.status


async def test_what_is_refused_is_sent_once_more_with_a_new_key_body_and_all() -> None:
    async with peer(takes="key-1") as backend, open_session(Renewed()) as session:
        assert await post(session, backend.url, b"body") == 200
    assert backend.asked == [("Bearer key-0", "body"), ("Bearer key-1", "body")]


async def test_a_key_that_stays_refused_is_not_tried_for_ever() -> None:
    async with peer(takes="another") as backend, open_session(Renewed()) as session:
        assert await get(session, backend.url) == 401
    assert len(backend.asked) == 2


@pytest.mark.parametrize("token", [fixed(Secret("key-0")), fixed(None), Renewed(grants=0)])
async def test_where_no_other_key_can_be_had_a_refusal_is_final(token: Renewed) -> None:
    async with peer(takes="another") as backend, open_session(token) as session:
        assert await get(session, backend.url) == 401
    assert len(backend.asked) == 1


async def test_the_same_key_is_not_sent_twice_where_a_new_one_could_not_be_had() -> None:
    class Stuck(Renewed):
        async def __call__(self) -> Secret | None:
            return self.keys[0]

    async with peer(takes="another") as backend, open_session(Stuck()) as session:
        assert await get(session, backend.url) == 401
    assert len(backend.asked) == 1


async def test_a_token_that_cannot_be_had_after_a_refusal_leaves_no_connection_in_use() -> None:
    class Lost(Renewed):
        async def __call__(self) -> Secret | None:
            if len(self.keys) > 1:
                raise NoToken("the socket is gone")
            return self.keys[0]

    async with peer(takes="another") as backend, open_session(Lost()) as session:
        with pytest.raises(NoToken):
            await get(session, backend.url)


async def test_no_redirect_is_followed_because_the_key_would_go_along() -> None:
    async with peer() as backend, open_session(fixed(Secret("key-0"))) as session:
        assert await get(session, backend.url + "/elsewhere") == 302
        assert await post(session, backend.url + "/elsewhere", b"") == 302
    assert len(backend.asked) == 2


class TestRedial:
    async def test_a_request_that_is_held_fails_at_once_and_the_next_has_a_connection_of_its_own(self) -> None:
        async with peer() as backend, open_session(fixed(Secret("key-0"))) as session, asyncio.TaskGroup() as group:
            assert await get(session, backend.url) == 200
            held = group.create_task(expect_broken(session, backend.url + "/held"))
            await backend.held.wait()
            await session.redial()
            await held
            assert await get(session, backend.url) == 200
        first, second, third = backend.peers
        assert first == second != third

    async def test_it_doubts_the_token(self) -> None:
        token = Renewed()
        async with peer(takes="key-1") as backend, open_session(token) as session:
            await session.redial()
            assert await get(session, backend.url) == 200
        assert len(backend.asked) == 1

    async def test_during_a_look_up_of_the_name_it_cancels_no_task_of_the_caller(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = asyncio.Event()

        async def never(*_: object, **__: object) -> None:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(Names, "resolve", never)
        async with open_session(fixed(None)) as session, asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            looking = group.create_task(expect_broken(session, "http://backend.invalid/"))
            await asked.wait()
            await session.redial()
            await looking
        assert not looking.cancelled()

    async def test_right_after_it_a_connection_has_to_stand_soon(self) -> None:
        now = 0.0
        async with open_session(fixed(None), Clock(monotonic=lambda: now)) as session:
            assert session._timeout().sock_connect == CONNECT_SECONDS
            await session.redial()
            assert session._timeout().sock_connect == session._timeout().connect == QUICK_CONNECT_SECONDS
            now = 60.0
            assert session._timeout().sock_connect == CONNECT_SECONDS


async def expect_broken(session: Session, url: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        await get(session, url)
