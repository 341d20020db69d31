"""/__preview/live: the socket between an open page of the app and the gateway.

The page reports whether it is on screen and used (page_messages.py); the gateway sends `sleep`, to all pages from
Gateway.put_pages_to_sleep and to a page that turns hidden meanwhile from here. It is a WebSocket and
not an event stream, which would take one of the six connections per host that a browser opens over HTTP/1.1, in every
tab. The page's script reconnects only when a person uses the page.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog

from agent.errors import AgentError
from agent.gateway.http import responses
from agent.gateway.http.transport import Transport
from agent.gateway.policy.request import Request
from agent.gateway.shared import OpenPage, SharedState
from agent.gateway.websocket.frames import (
    GOING_AWAY,
    PING,
    BadFrame,
    Close,
    FrameReader,
    Ping,
    Text,
    close_frame,
    handshake_accept,
    pong_frame,
    text_frame,
)
from agent.gateway.websocket.page_messages import (
    SLEEP,
    Hidden,
    Input,
    Shown,
    UnknownMessage,
    is_allowed_origin,
    page_path,
    parse_signal,
)
from agent.gateway.websocket.tunnel import CLOSE_SECONDS, PING_SECONDS, SILENT_PINGS

log = structlog.get_logger()


class HandshakeRefused(AgentError):
    """The handshake is refused with the HTTP status `status`."""

    code: ClassVar[str] = "live_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


async def serve(client: Transport, request: Request, shared: SharedState) -> None:
    """Run until either side closes the socket or the browser stays silent. Raises HandshakeRefused before anything was
    written.
    """
    accepted = handshake_accept(request.headers)
    if accepted is None:
        raise HandshakeRefused("not a WebSocket handshake of version 13", status=400)
    if not is_allowed_origin(request.headers):
        raise HandshakeRefused("only pages of this preview may open this socket", status=403)
    if shared.pages.full:
        raise HandshakeRefused("too many open pages", status=503)
    client.write(responses.switching_protocols(accepted))
    path = page_path(request.target)
    with shared.long_lived(), shared.pages.opened(lambda message: client.write(text_frame(message))) as page:
        try:
            await _read_messages(client, page, path, shared)
        except (BadFrame, UnknownMessage) as error:
            log.info("gateway.live_protocol_error", path=path, reason=str(error))
            status = error.status if isinstance(error, BadFrame) else 1008
            client.write(close_frame(status, str(error).encode()))
        except asyncio.CancelledError:
            if not client.ended:
                client.write(close_frame(GOING_AWAY, shared.close_reason()))
                client.finish()
                await asyncio.sleep(CLOSE_SECONDS)  # the browser's own close cancels this task again
            raise


async def _read_messages(client: Transport, page: OpenPage, path: str, shared: SharedState) -> None:
    frames, silent = FrameReader(), 0
    while True:
        for frame in frames.feed(client.take()):
            match frame:
                case Text(data):
                    _apply_message(data, page, path, shared)
                case Ping(data):
                    client.write(pong_frame(data))
                case Close(status):
                    client.write(close_frame(status or 1000))
                    return
                case _:
                    pass
        await client.drain()
        try:
            async with asyncio.timeout(PING_SECONDS):
                if not await client.fill():
                    return
            silent = 0
        except TimeoutError:
            silent += 1
            if silent >= SILENT_PINGS:
                log.info("gateway.live_timeout", peer=client.peer)
                client.abort()
                return
            client.write(PING)


def _apply_message(message: bytes, page: OpenPage, path: str, shared: SharedState) -> None:
    match parse_signal(message):
        case Shown():
            page.visible = True
            shared.on_activity("shown", path, attended=True)
        case Hidden():
            page.visible = False
            if shared.board.snapshot.sleeping:  # it was still loading when the other pages were sent `sleep`
                page.send(SLEEP)
        case Input(device):
            # Input on a page that is not on screen cannot come from a person.
            if page.visible:
                shared.on_activity("input", device, attended=True)
