"""WebSockets: a handshake that always gets an answer, then a tunnel that leaves every byte as it is.

Whatever the two ends agreed on (subprotocol, compression, fragments, close codes) is between them. The gateway adds
two frames of its own, between theirs: a ping to a browser that has been silent, because the socket of a laptop
that was shut would otherwise stay for hours, and 1001 when the gateway takes leave, with the reason `asleep` when that
is why: pages/shim.js knows then that nothing must be dialled again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agent.gateway.http.bodies import EndlessScanner
from agent.gateway.http.forwarded_headers import to_client
from agent.gateway.http.heads import write_response
from agent.gateway.http.proxy import Broken, Exchange, read_answer, relay
from agent.gateway.http.transport import Wire
from agent.gateway.http.upstream import Upstream
from agent.gateway.websocket.frames import AWAY, PING, FrameScanner, close

log = structlog.get_logger()

HANDSHAKE_SECONDS = 10.0
"""Next leaves a handshake for a path that it does not know without any answer."""
PING_SECONDS = 25.0
SILENT_PINGS = 3
"""A browser that let so many pings pass is gone."""
FAREWELL_SECONDS = 0.2
"""For the browser's own close. A connection cut under it would make it report an abnormal end instead of 1001."""


async def open_socket(exchange: Exchange, upstream: Upstream, why: Callable[[], bytes]) -> bool:
    """Carry out one upgrade and, if the dev server agrees, all that follows; False: the connection is used up.

    `why`: the reason given when the gateway takes leave. Raises NotThere and Broken while nothing was answered yet.
    """
    async with upstream.link(used=False) as link:
        link.wire.write(exchange.first_bytes())
        answer = await read_answer(link.wire, exchange, HANDSHAKE_SECONDS)
        if answer.status < 200 and answer.status != 101:
            raise Broken("it answered a handshake with an interim response", again=False)
        fields = to_client(answer, exchange.head, dev_port=exchange.dev_port, close=True)
        head = write_response(answer.status, answer.reason, fields)
        if answer.status == 101:
            exchange.client.write(head)
            await _tunnel(exchange.client, link.wire, why)
        else:
            await relay(link.wire, exchange.client, answer.body, first=head)
    return False


async def _tunnel(client: Wire, server: Wire, why: Callable[[], bytes]) -> None:
    """Runs until the dev server ends it, the browser stays silent, or the caller cancels."""
    frames = FrameScanner()
    over = server.join(client, frames)
    client.join(server, EndlessScanner())
    silent = 0
    try:
        while not over.done():
            await asyncio.wait({over}, timeout=PING_SECONDS)
            silent = 0 if client.heard or over.done() else silent + 1
            client.heard = False
            if silent >= SILENT_PINGS:
                log.info("gateway.socket_silent", peer=client.peer)
                client.abort()
            elif silent and frames.between:
                client.write(PING)
    except asyncio.CancelledError:
        if frames.between and not client.ended:
            client.write(close(AWAY, why()))
            client.finish()
            await asyncio.sleep(FAREWELL_SECONDS)  # cut short by the browser, whose end cancels this task again
        raise
    finally:
        server.part()
        client.part()
        server.close()  # and not abort: what the browser said last, its close frame, is still to leave
