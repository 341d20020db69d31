"""One browser's connection: reads its requests one after the other and has each one answered.

Invariants: while a request is being answered, the browser's leaving cancels the task that does it. A request that
cannot be read ends the connection, because nobody knows where the next one begins. Every wait has an end: for a head,
for a dev server on its way back, for an answer.

What must not live here: what is done about a request (routing.py), how it is carried out (proxy.py, sockets.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import structlog

from agent.gateway.http import responses
from agent.gateway.http.forwarded_headers import Way
from agent.gateway.http.heads import NOTHING, BadMessage, RequestHead, parse_request, tokens
from agent.gateway.http.proxy import Broken, Exchange, forward, read_head
from agent.gateway.http.transport import Vanished, Wire
from agent.gateway.http.upstream import NotThere
from agent.gateway.pages import event_streams
from agent.gateway.pages.prewarm import warm
from agent.gateway.pages.render import render, render_asleep, script
from agent.gateway.pages.view import view
from agent.gateway.policy import script_injection
from agent.gateway.policy.activity import Activity, attended, classify, may_keep_awake
from agent.gateway.policy.return_path import itself, landing
from agent.gateway.policy.routing import (
    Decision,
    Elsewhere,
    FailedPage,
    Forward,
    Hold,
    HungPage,
    Own,
    Request,
    Unavailable,
    WaitPage,
    decide,
)
from agent.gateway.shared import Front
from agent.gateway.websocket import live_endpoint
from agent.gateway.websocket.tunnel import open_socket
from agent.status import Snapshot

log = structlog.get_logger()

HEAD_SECONDS = 15.0
"""For a whole head, from the first byte or from the connection's start: a browser needs milliseconds."""
IDLE_SECONDS = 75.0
HOLD_SECONDS = 10.0
"""How long a request waits for a dev server that is on its way back; a changed next.config takes it about 1.5 s."""
HOLD_STEP_SECONDS = 0.1
TRIES = 3
LINGER_SECONDS = 1.0
"""How long the rest of a refused request is thrown away: closing at once would destroy the refusal on its way."""
SOCKETS_MOST = 256


class Connection:
    def __init__(self, client: Wire, front: Front) -> None:
        self._client = client
        self._front = front

    async def serve(self) -> None:
        """Answer requests until one side has had enough."""
        task = asyncio.current_task()

        def leave() -> None:
            if task is not None:
                task.cancel()

        patience = HEAD_SECONDS
        try:
            while (head := await self._next(patience)) is not None:
                self._client.on_end = leave
                if self._client.ended or not await self._answer(head):
                    break
                self._client.on_end = None
                patience = IDLE_SECONDS
        except Vanished:
            self._client.abort()
        finally:
            self._client.on_end = None
            self._client.close()

    async def _next(self, patience: float) -> RequestHead | None:
        client = self._client
        try:
            async with asyncio.timeout(patience):
                while True:
                    while client.buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: an empty line before a request is noise
                        del client.buffer[:2]
                    if len(client.buffer) > 1:
                        break
                    if not await client.fill():
                        return None
            async with asyncio.timeout(HEAD_SECONDS):
                raw = await read_head(client)
            return None if raw is None else parse_request(raw)
        except BadMessage as error:
            await self._refuse(error.status, str(error))
        except TimeoutError:
            if client.buffer:
                await self._refuse(408, "the header took too long")
        return None

    async def _answer(self, head: RequestHead) -> bool:
        """True when the connection can take another request."""
        request = _request(head)
        close = head.version == "1.0" or b"close" in tokens(head.fields, b"connection")
        plain = script_injection.asked(request, head)
        way = self._way(request, plain=plain)
        exchange = Exchange(self._client, head, way, self._front.dev_port, close)
        decision = decide(request, self._front.board.snapshot)
        activity = classify(request)
        if may_keep_awake(activity):
            watched = attended(request, visible=bool(self._front.pages.visible))
            self._front.on_activity(activity, f"{request.method} {request.path}", attended=watched)
        since, tries = self._front.clock.monotonic(), 0
        until: float | None = None
        while isinstance(decision, Forward | Hold):
            seen = self._front.board.snapshot
            if isinstance(decision, Forward):
                try:
                    return await self._forward(request, activity, exchange)
                except Broken as error:
                    tries += 1
                    if not error.again or tries >= TRIES:
                        return await self._bad_gateway(request, head, error)
                except NotThere:
                    pass  # nothing was sent: it waits like a held one
            # The wait counts from the moment the dev server was missed: before that it may have worked for minutes.
            now = self._front.clock.monotonic()
            until = until or now + HOLD_SECONDS
            if now >= until:
                decision = WaitPage() if request.navigation else Unavailable("the preview is starting again")
                break
            await self._news(seen)
            decision = decide(request, self._front.board.snapshot)
        return await self._instead(decision, request, head, close=close, since=since)

    def _way(self, request: Request, *, plain: bool = False) -> Way:
        dev = self._front.board.snapshot.dev_server
        return Way(
            self._client.peer,
            internal=request.internal,
            upgrade=request.upgrade,
            plain=plain,
            host=b"localhost:%d" % self._front.dev_port if dev.checks_host else None,
            origin=dev.checks_origin,
        )

    async def _forward(self, request: Request, activity: Activity, exchange: Exchange) -> bool:
        front = self._front
        try:
            if not request.upgrade:
                with front.answer(request, activity):
                    keep = await forward(exchange, front.upstream)
                if not keep and exchange.head.body != NOTHING:
                    await self._linger()
                return keep
            if front.sockets >= SOCKETS_MOST:
                return await self._say(503, "too many open sockets", exchange.head)
            front.sockets += 1
            try:
                with front.lasting():
                    return await open_socket(exchange, front.upstream, front.parting)
            finally:
                front.sockets -= 1
        except (Vanished, BadMessage) as error:
            log.info("gateway.cut_off", path=request.path, reason=str(error))
            self._client.abort()
            return False

    async def _news(self, seen: Snapshot) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HOLD_STEP_SECONDS):
                await self._front.board.newer(seen)

    async def _instead(
        self, decision: Decision, request: Request, head: RequestHead, *, close: bool, since: float
    ) -> bool:
        match decision:
            case WaitPage() | FailedPage() | HungPage():
                return await self._page(request, head, close=close, since=since)
            case Unavailable(reason):
                return await self._say(503, reason, head, close=close)
            case Elsewhere(path):
                close = close or head.body != NOTHING
                data = responses.elsewhere(path, wall=self._front.clock.wall(), close=close, status=307)
                return await self._write(data, close=close)
            case Own("shim"):
                return await self._script(request, close=close or head.body != NOTHING)
            case Own("asleep"):
                return await self._asleep(request, close=close or head.body != NOTHING)
            case Own("live"):
                return await self._live(request, head)
            case Own(endpoint):
                with self._front.lasting():
                    await self._stream(endpoint, request, since)
                return False
            case _:
                return await self._say(404, "there is nothing here", head, close=close)

    async def _page(self, request: Request, head: RequestHead, *, close: bool, since: float) -> bool:
        front = self._front
        lines = list(map(front.board.shorten, front.logs.lines()))
        shown = view(front.board.snapshot, lines, request.path)
        if shown.kind == "ready":  # it is held to be, and did not answer all the same
            waking = "The dev server does not answer at the moment. This page turns into your app when it does."
            shown = dataclasses.replace(shown, kind="waking", title="Waking up your preview", sentence=waking)
        page = render(shown, elapsed=front.waited(since), itself=itself(head.target))
        close, bare = close or head.body != NOTHING, head.method == "HEAD"
        data = responses.page(page.body, page.policy, wall=front.clock.wall(), close=close, bare=bare)
        return await self._write(data, close=close)

    async def _script(self, request: Request, *, close: bool) -> bool:
        body, version = script()
        known = version.decode() in request.headers.get("if-none-match", "")
        wall = self._front.clock.wall()
        return await self._write(responses.script(body, version, known=known, wall=wall, close=close), close=close)

    async def _asleep(self, request: Request, *, close: bool) -> bool:
        front, to = self._front, landing(request.target)
        wall = front.clock.wall()
        if not front.board.snapshot.sleeping:
            return await self._write(responses.elsewhere(to, wall=wall, close=close), close=close)
        page = render_asleep(to)
        return await self._write(responses.asleep(page.body, page.policy, wall=wall, close=close), close=close)

    async def _live(self, request: Request, head: RequestHead) -> bool:
        try:
            await live_endpoint.serve(self._client, request, self._front)
        except live_endpoint.Refused as error:
            return await self._say(error.status, str(error), head)
        await self._linger()
        return False

    async def _stream(self, endpoint: str, request: Request, since: float) -> None:
        front = self._front
        opaque = request.headers.get("origin") == "null"
        self._client.write(responses.stream(wall=front.clock.wall(), to_opaque=opaque))
        if endpoint == "log":
            await event_streams.output(self._client, front.logs)
            return
        target = parse_qs(urlsplit(request.target).query).get("path", ["/"])[0]
        host = request.headers.get("host", "localhost")
        await event_streams.views(
            self._client,
            front.board,
            front.logs,
            path=urlsplit(target).path,
            waited=lambda: front.waited(since),
            warm=lambda: warm(front.upstream, target, host=host, way=self._way(Request("GET", target))),
        )

    async def _bad_gateway(self, request: Request, head: RequestHead, error: Broken) -> bool:
        log.warning("gateway.no_answer", path=request.path, reason=str(error))
        return await self._say(504 if error.late else 502, f"the dev server failed: {error}", head, close=True)

    async def _say(self, status: int, sentence: str, head: RequestHead, *, close: bool = True) -> bool:
        close = close or head.body != NOTHING
        wall, bare = self._front.clock.wall(), head.method == "HEAD"
        return await self._write(responses.text(status, sentence, wall=wall, close=close, bare=bare), close=close)

    async def _refuse(self, status: int, sentence: str) -> None:
        await self._write(responses.text(status, sentence, wall=self._front.clock.wall(), close=True), close=True)

    async def _write(self, data: bytes, *, close: bool) -> bool:
        self._client.write(data)
        await self._client.drain()
        if close:
            await self._linger()
        return not close

    async def _linger(self) -> None:
        client = self._client
        client.on_end = None
        client.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                client.buffer.clear()
                while await client.fill():
                    client.buffer.clear()


def _request(head: RequestHead) -> Request:
    headers: dict[str, str] = {}
    for key, raw in head.fields:
        name, value = key.decode().lower(), raw.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    # A protocol other than WebSocket (h2c, asked for by curl) may be left unanswered: RFC 9110, 7.8.
    upgrade = (
        head.method == "GET"
        and head.version == "1.1"
        and head.body == NOTHING
        and b"upgrade" in tokens(head.fields, b"connection")
        and b"websocket" in tokens(head.fields, b"upgrade")
    )
    return Request(head.method, head.target, headers, upgrade)
