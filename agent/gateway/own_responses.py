"""The requests that the gateway answers itself: its pages, its endpoints below /__preview/, and refusals.

Methods that return a bool return True when the connection can take another request. A request that has a body always
ends the connection, because nothing reads that body.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs, urlsplit

from agent.gateway.http import responses
from agent.gateway.http.heads import NO_BODY, RequestHead
from agent.gateway.http.transport import Transport
from agent.gateway.pages import event_streams
from agent.gateway.pages.prewarm import prewarm
from agent.gateway.pages.render import render, render_asleep, script
from agent.gateway.pages.view import view
from agent.gateway.policy.request import Request
from agent.gateway.policy.return_path import return_target, self_reference
from agent.gateway.policy.routing import (
    Decision,
    FailedPage,
    HungRoutePage,
    OwnEndpoint,
    Redirect,
    Unavailable,
    WakingPage,
)
from agent.gateway.shared import SharedState
from agent.gateway.websocket import live_endpoint


class OwnResponses:
    def __init__(self, client: Transport, shared: SharedState) -> None:
        self._client = client
        self._shared = shared

    async def send(self, decision: Decision, request: Request, head: RequestHead, *, close: bool, since: float) -> bool:
        """Answer `request` as decided. `close`: the browser asked for it; `since`: when the request came."""
        close = close or head.body != NO_BODY
        match decision:
            case WakingPage() | FailedPage() | HungRoutePage():
                return await self._page(request, head, close=close, since=since)
            case Unavailable(reason):
                return await self.text(503, reason, head, close=close)
            case Redirect(path):
                return await self._write(
                    responses.redirect(path, wall=self._wall, close=close, status=307), close=close
                )
            case OwnEndpoint("shim"):
                return await self._script(request, close=close)
            case OwnEndpoint("asleep"):
                return await self._asleep_page(request, close=close)
            case OwnEndpoint("live"):
                return await self._live_socket(request, head)
            case OwnEndpoint(endpoint):
                with self._shared.long_lived():
                    await self._event_stream(endpoint, request, since)
                return False
            case _:
                return await self.text(404, "there is nothing at this path", head, close=close)

    async def text(self, status: int, sentence: str, head: RequestHead, *, close: bool = True) -> bool:
        """Answer with one line of text."""
        close, head_only = close or head.body != NO_BODY, head.method == "HEAD"
        data = responses.text(status, sentence, wall=self._wall, close=close, head_only=head_only)
        return await self._write(data, close=close)

    async def refuse(self, status: int, sentence: str) -> None:
        """Answer a request whose head could not be read, and end the connection."""
        await self._write(responses.text(status, sentence, wall=self._wall, close=True), close=True)

    @property
    def _wall(self) -> float:
        return self._shared.clock.wall()

    async def _page(self, request: Request, head: RequestHead, *, close: bool, since: float) -> bool:
        shared = self._shared
        lines = list(map(shared.board.shorten, shared.logs.lines()))
        shown = view(shared.board.snapshot, lines, request.path)
        if shown.kind == "ready":  # according to the facts, although it did not answer just now
            sentence = "The dev server is not answering right now. This page turns into your app as soon as it does."
            shown = dataclasses.replace(shown, kind="waking", title="Waking up your preview", sentence=sentence)
        page = render(shown, elapsed=shared.seconds_waited(since), self_reference=self_reference(head.target))
        head_only = head.method == "HEAD"
        data = responses.page(page.body, page.policy, wall=self._wall, close=close, head_only=head_only)
        return await self._write(data, close=close)

    async def _script(self, request: Request, *, close: bool) -> bool:
        body, etag = script()
        unchanged = etag.decode() in request.headers.get("if-none-match", "")
        data = responses.script(body, etag, unchanged=unchanged, wall=self._wall, close=close)
        return await self._write(data, close=close)

    async def _asleep_page(self, request: Request, *, close: bool) -> bool:
        to = return_target(request.target)
        if not self._shared.board.snapshot.sleeping:
            return await self._write(responses.redirect(to, wall=self._wall, close=close), close=close)
        page = render_asleep(to)
        data = responses.asleep_page(page.body, page.policy, wall=self._wall, close=close)
        return await self._write(data, close=close)

    async def _live_socket(self, request: Request, head: RequestHead) -> bool:
        try:
            await live_endpoint.serve(self._client, request, self._shared)
        except live_endpoint.HandshakeRefused as error:
            return await self.text(error.status, str(error), head)
        await self._client.linger()
        return False

    async def _event_stream(self, endpoint: str, request: Request, since: float) -> None:
        shared, client = self._shared, self._client
        opaque = request.headers.get("origin") == "null"
        client.write(responses.event_stream_head(wall=self._wall, allow_opaque=opaque))
        if endpoint == "log":
            await event_streams.send_output(client, shared.logs)
            return
        target = parse_qs(urlsplit(request.target).query).get("path", ["/"])[0]
        host = request.headers.get("host", "localhost")

        async def prewarm_page() -> None:
            context = shared.forward_context(Request("GET", target), client.peer)
            await prewarm(shared.upstream, target, host=host, context=context)

        await event_streams.send_views(
            client,
            shared.board,
            shared.logs,
            path=urlsplit(target).path,
            seconds_waited=lambda: shared.seconds_waited(since),
            prewarm=prewarm_page,
        )

    async def _write(self, data: bytes, *, close: bool) -> bool:
        self._client.write(data)
        await self._client.drain()
        if close:
            await self._client.linger()
        return not close
