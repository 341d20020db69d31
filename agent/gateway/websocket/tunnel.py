"""Forwards a WebSocket handshake, then tunnels the socket in both directions without changing a byte.

Subprotocol, compression, fragments and close codes are between browser and dev server. The gateway inserts two frames
of its own, at frame boundaries: a ping to a silent browser, because the socket of a suspended laptop would stay open
for hours; and close 1001 when the gateway stops, with the reason `asleep` when the machine goes to sleep, so that
pages/assets/shim.js does not reconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agent.gateway.http.bodies import EndlessScanner
from agent.gateway.http.forwarded_headers import client_fields
from agent.gateway.http.heads import serialize_response
from agent.gateway.http.pipe import Pipe
from agent.gateway.http.proxy import Exchange, UpstreamFailed, read_response_head, relay_body
from agent.gateway.http.transport import Transport
from agent.gateway.http.upstream import Upstream
from agent.gateway.websocket.frames import GOING_AWAY, PING, FrameScanner, close_frame

log = structlog.get_logger()

HANDSHAKE_SECONDS = 10.0
"""Next does not answer a handshake for a path that it does not know."""
PING_SECONDS = 25.0
SILENT_PINGS = 3
"""A browser that sent nothing during this many ping intervals is disconnected."""
CLOSE_SECONDS = 0.2
"""How long to wait for the browser's close frame. Cut earlier, a browser reports an abnormal end instead of 1001."""


async def forward_websocket(exchange: Exchange, upstream: Upstream, close_reason: Callable[[], bytes]) -> bool:
    """Forward a handshake and, if the dev server accepts it, the socket until it ends. Always False: the connection
    cannot take another request.

    `close_reason`: the reason in the close frame if the gateway ends the socket. Raises UpstreamUnreachable and
    UpstreamFailed while nothing was sent to the browser yet.
    """
    async with upstream.connection(reuse=False) as connection:
        server = connection.transport
        server.write(exchange.upstream_head())
        response = await read_response_head(server, exchange, HANDSHAKE_SECONDS)
        if response.status < 200 and response.status != 101:
            raise UpstreamFailed("it answered a handshake with an interim response", may_retry=False)
        fields = client_fields(response, exchange.request, dev_port=exchange.dev_port, close=True)
        head = serialize_response(response.status, response.reason, fields)
        if response.status == 101:
            exchange.client.write(head)
            await _tunnel(exchange.client, server, close_reason)
        else:
            await relay_body(server, exchange.client, response.body, first=head)
    return False


async def _tunnel(client: Transport, server: Transport, close_reason: Callable[[], bytes]) -> None:
    """Runs until the dev server ends the socket, the browser stays silent, or the caller cancels."""
    frames = FrameScanner()
    to_client = Pipe(server, client, frames)
    to_server = Pipe(client, server, EndlessScanner())
    silent = 0
    try:
        while not to_client.result.done():
            await asyncio.wait({to_client.result}, timeout=PING_SECONDS)
            silent = 0 if client.received_data or to_client.result.done() else silent + 1
            client.received_data = False
            if silent >= SILENT_PINGS:
                log.info("gateway.websocket_timeout", peer=client.peer)
                client.abort()
            elif silent and frames.at_boundary:
                client.write(PING)
    except asyncio.CancelledError:
        if frames.at_boundary and not client.ended:
            client.write(close_frame(GOING_AWAY, close_reason()))
            client.finish()
            await asyncio.sleep(CLOSE_SECONDS)  # the browser's own close cancels this task again, and so ends the wait
        raise
    finally:
        to_client.stop()
        to_server.stop()
        server.close()  # not abort: the browser's last bytes, its close frame, are still to be sent
