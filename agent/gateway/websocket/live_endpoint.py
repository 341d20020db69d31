"""/__preview/live: the socket between an open page of the app and the gateway.

The page says whether it is seen and used (presence.py), the gateway says `sleep`. A WebSocket, because a stream of
events would take one of the six connections that a browser opens to a host over HTTP/1.1, in every tab.
The page's script never dials again by itself, so that nothing but a person brings it back.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog

from agent.errors import AgentError
from agent.gateway.http import responses
from agent.gateway.http.transport import Wire
from agent.gateway.policy.routing import Request
from agent.gateway.shared import Front, OpenPage
from agent.gateway.websocket.frames import (
    AWAY,
    PING,
    BadFrame,
    Close,
    FrameReader,
    Ping,
    Text,
    accept,
    close,
    pong,
    text,
)
from agent.gateway.websocket.page_messages import (
    SLEEP,
    Hidden,
    Input,
    Shown,
    Unknown,
    may_speak,
    page_path,
    signal,
)
from agent.gateway.websocket.tunnel import FAREWELL_SECONDS, PING_SECONDS, SILENT_PINGS

log = structlog.get_logger()


class Refused(AgentError):
    """The handshake is not for us to take; `status` answers it."""

    code: ClassVar[str] = "live_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


async def serve(client: Wire, request: Request, front: Front) -> None:
    """Runs until either side ends it, or the browser stays silent; raises Refused before anything was written."""
    accepted = accept(request.headers)
    if accepted is None:
        raise Refused("this is no WebSocket handshake of version 13", status=400)
    if not may_speak(request.headers):
        raise Refused("only a page of this preview may open this socket", status=403)
    if front.pages.full:
        raise Refused("too many open pages", status=503)
    client.write(responses.switch(accepted))
    path = page_path(request.target)
    with front.lasting(), front.pages.opened(lambda message: client.write(text(message))) as page:
        try:
            await _listen(client, page, path, front)
        except (BadFrame, Unknown) as error:
            log.info("gateway.page_misbehaved", path=path, reason=str(error))
            client.write(close(error.status if isinstance(error, BadFrame) else 1008, str(error).encode()))
        except asyncio.CancelledError:
            if not client.ended:
                client.write(close(AWAY, front.parting()))
                client.finish()
                await asyncio.sleep(FAREWELL_SECONDS)  # cut short by the browser, whose end cancels this task again
            raise


async def _listen(client: Wire, page: OpenPage, path: str, front: Front) -> None:
    frames, silent = FrameReader(), 0
    while True:
        for frame in frames.feed(client.take()):
            match frame:
                case Text(data):
                    _heard(data, page, path, front)
                case Ping(data):
                    client.write(pong(data))
                case Close(status):
                    client.write(close(status or 1000))
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
                log.info("gateway.page_silent", peer=client.peer)
                client.abort()
                return
            client.write(PING)


def _heard(message: bytes, page: OpenPage, path: str, front: Front) -> None:
    match signal(message):
        case Shown():
            page.visible = True
            front.on_activity("shown", path, attended=True)
        case Hidden():
            page.visible = False
            if front.board.snapshot.sleeping:  # it was being loaded when the others were told, and nobody sees it
                page.tell(SLEEP)
        case Input(device):
            # What a page says of a person while nobody can see it is not believed.
            if page.visible:
                front.on_activity("input", device, attended=True)
