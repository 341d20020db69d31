"""Serves one browser connection: reads its requests one after the other, and forwards or answers each.

Invariants: while a request is being answered, a disconnect of the browser cancels the task. A request that is not valid
HTTP ends the connection, because the start of the next one is then unknown. Every wait has a limit: for a head, for a
dev server that restarts, for a response.

What must not live here: what is done with a request (policy/routing.py), how it is forwarded (http/proxy.py,
websocket/tunnel.py), and the gateway's own responses (own_responses.py).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from agent.gateway.http.heads import NO_BODY, BadMessage, RequestHead, parse_request, tokens
from agent.gateway.http.proxy import Exchange, UpstreamFailed, forward_request, read_head
from agent.gateway.http.transport import PeerGone, Transport
from agent.gateway.http.upstream import UpstreamUnreachable
from agent.gateway.own_responses import OwnResponses
from agent.gateway.policy.activity import Activity, attended, classify, may_keep_awake
from agent.gateway.policy.request import Request, from_head
from agent.gateway.policy.routing import Forward, Hold, Unavailable, WakingPage, decide
from agent.gateway.policy.script_injection import may_inject
from agent.gateway.shared import SharedState
from agent.gateway.websocket.tunnel import forward_websocket
from agent.status import Snapshot

log = structlog.get_logger()

HEAD_SECONDS = 15.0
"""For a whole head, from its first byte or from the connection's start. A browser needs milliseconds."""
IDLE_SECONDS = 75.0
HOLD_SECONDS = 10.0
"""How long a request waits for a dev server that restarts. A changed next.config takes it about 1.5 s."""
HOLD_STEP_SECONDS = 0.1
TRIES = 3
SOCKETS_MOST = 256


class Connection:
    def __init__(self, client: Transport, shared: SharedState) -> None:
        self._client = client
        self._shared = shared
        self._own = OwnResponses(client, shared)

    async def serve(self) -> None:
        """Answer requests until one side closes the connection."""
        task = asyncio.current_task()

        def cancel() -> None:
            if task is not None:
                task.cancel()

        seconds = HEAD_SECONDS
        try:
            while (head := await self._read_request(seconds)) is not None:
                self._client.on_end = cancel
                if self._client.ended or not await self._respond(head):
                    break
                self._client.on_end = None
                seconds = IDLE_SECONDS
        except PeerGone:
            self._client.abort()
        finally:
            self._client.on_end = None
            self._client.close()

    async def _read_request(self, seconds: float) -> RequestHead | None:
        """The next request head, if its first bytes arrive within `seconds`; None when the connection is to be closed.
        An invalid one is refused here.
        """
        client = self._client
        try:
            async with asyncio.timeout(seconds):
                while True:
                    while client.buffer.startswith(b"\r\n"):  # empty lines before a request are skipped (RFC 9112, 2.2)
                        del client.buffer[:2]
                    if len(client.buffer) > 1:
                        break
                    if not await client.fill():
                        return None
            async with asyncio.timeout(HEAD_SECONDS):
                raw = await read_head(client)
            return None if raw is None else parse_request(raw)
        except BadMessage as error:
            await self._own.refuse(error.status, str(error))
        except TimeoutError:
            if client.buffer:
                await self._own.refuse(408, "the request header took too long")
        return None

    async def _respond(self, head: RequestHead) -> bool:
        """Answer one request; True when the connection can take another."""
        shared, request = self._shared, from_head(head)
        since = shared.clock.monotonic()
        close = head.version == "1.0" or b"close" in tokens(head.fields, b"connection")
        context = shared.forward_context(request, self._client.peer, uncompressed=may_inject(request, head))
        exchange = Exchange(self._client, head, context, shared.dev_port, close)
        decision, tries, until = decide(request, shared.board.snapshot), 0, 0.0
        activity = classify(request)
        self._report_activity(request, activity)
        while isinstance(decision, Forward | Hold):
            seen = shared.board.snapshot
            if isinstance(decision, Forward):
                try:
                    return await self._forward(request, activity, exchange)
                except UpstreamFailed as error:
                    tries += 1
                    if not error.may_retry or tries >= TRIES:
                        return await self._bad_gateway(request, head, error)
                except UpstreamUnreachable:
                    pass  # nothing was sent, so the request waits like a held one
            # The limit counts from the moment the dev server was first missed: it may have worked for minutes before.
            now = shared.clock.monotonic()
            until = until or now + HOLD_SECONDS
            if now >= until:
                decision = WakingPage() if request.navigation else Unavailable("the preview is starting again")
                break
            await self._wait_for_change(seen)
            decision = decide(request, shared.board.snapshot)
        return await self._own.send(decision, request, head, close=close, since=since)

    def _report_activity(self, request: Request, activity: Activity) -> None:
        if may_keep_awake(activity):
            person = attended(request, visible=bool(self._shared.pages.visible))
            self._shared.on_activity(activity, f"{request.method} {request.path}", attended=person)

    async def _forward(self, request: Request, activity: Activity, exchange: Exchange) -> bool:
        shared = self._shared
        try:
            if not request.upgrade:
                with shared.in_progress(request, activity):
                    keep = await forward_request(exchange, shared.upstream)
                if not keep and exchange.request.body != NO_BODY:
                    await self._client.linger()
                return keep
            if shared.sockets >= SOCKETS_MOST:
                return await self._own.text(503, "too many open sockets", exchange.request)
            shared.sockets += 1
            try:
                with shared.long_lived():
                    return await forward_websocket(exchange, shared.upstream, shared.close_reason)
            finally:
                shared.sockets -= 1
        except (PeerGone, BadMessage) as error:
            log.info("gateway.exchange_aborted", path=request.path, reason=str(error))
            self._client.abort()
            return False

    async def _wait_for_change(self, seen: Snapshot) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HOLD_STEP_SECONDS):
                await self._shared.board.newer(seen)

    async def _bad_gateway(self, request: Request, head: RequestHead, error: UpstreamFailed) -> bool:
        log.warning("gateway.upstream_failed", path=request.path, reason=str(error))
        return await self._own.text(504 if error.timed_out else 502, f"the dev server failed: {error}", head)
