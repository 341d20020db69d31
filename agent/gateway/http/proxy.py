"""Forwards one request to the dev server and streams its response back. Nothing is collected, decoded or compressed.

Invariants:
  - A response body keeps the framing it came in, so a body that was cut off upstream is cut off for the browser too
    and never looks complete.
  - An HTML page gets one script tag (policy/script_injection.py); its head is held until the tag's place is found.
  - A request is sent a second time only if no byte of a response was seen and the request has no body.
  - The caller cancels the exchange when the browser disconnects. Leaving `Upstream.connection` then closes the
    connection to the dev server, which is how Next learns of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from agent.errors import AgentError
from agent.gateway.http.bodies import Scanner, scanner_for
from agent.gateway.http.forwarded_headers import ForwardContext, client_fields, upstream_fields
from agent.gateway.http.heads import (
    HEAD_LIMIT,
    NO_BODY,
    BadMessage,
    Body,
    RequestHead,
    ResponseHead,
    UntilClose,
    has_bare_lf,
    parse_response,
    serialize_request,
    serialize_response,
)
from agent.gateway.http.pipe import Pipe
from agent.gateway.http.transport import PeerGone, Transport
from agent.gateway.http.upstream import Upstream
from agent.gateway.policy import script_injection

RESPONSE_SECONDS = 300.0
"""A first compile on a small machine is slow. Detecting a dev server that hangs is the supervisor's task."""
INSERT_SECONDS = 10.0
"""How long the first bytes of a page are held until the tag's place is found. Next sends them at once."""
UPLOAD_SECONDS = 60.0
"""How long a browser may pause in the middle of a request body."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class UpstreamFailed(AgentError):
    """The dev server sent no response or an invalid one. Nothing was sent to the browser yet."""

    code = "dev_server_broke_off"

    def __init__(self, message: str, *, may_retry: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.may_retry = may_retry
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to be forwarded."""

    client: Transport
    """The browser's connection. Its buffer may hold the request's body and the requests behind it."""
    request: RequestHead
    context: ForwardContext
    dev_port: int
    close: bool
    """The browser asked for the connection to be closed after this response."""

    @property
    def repeatable(self) -> bool:
        return self.request.method in SAFE_METHODS and self.request.body == NO_BODY

    def upstream_head(self) -> bytes:
        head = self.request
        return serialize_request(head.method, head.target, head.version, upstream_fields(head, self.context))


async def forward_request(exchange: Exchange, upstream: Upstream) -> bool:
    """Forward one request and its response; False when the browser's connection cannot take another request.

    Raises UpstreamUnreachable and UpstreamFailed while nothing was sent to the browser yet, PeerGone and BadMessage
    after that.
    """
    async with upstream.connection(reuse=exchange.repeatable) as connection:
        server = connection.transport
        server.write(exchange.upstream_head())
        if exchange.request.body == NO_BODY:
            response = await _relay_response(exchange, server)
            sent_all = True
        else:
            response, sent_all = await _relay_both_ways(exchange, server)
        connection.reusable = response.keep_alive and sent_all and exchange.request.version == "1.1"
        return sent_all and not _closes(exchange, response)


async def _relay_both_ways(exchange: Exchange, server: Transport) -> tuple[ResponseHead, bool]:
    """Send the request body while waiting for the response: a server may answer, or send 100, before it has read all
    of it. Returns the response and whether the whole body was sent.
    """
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_body(exchange, server))
        try:
            response = await _relay_response(exchange, server)
        except (AgentError, PeerGone) as error:
            failed: Exception | None = error  # raised below, outside of the group, which would wrap it
        else:
            failed = None
        sent_all = sending.done() and sending.result()
        sending.cancel()
    if failed is not None:
        raise failed
    return response, sent_all


async def _send_body(exchange: Exchange, server: Transport) -> bool:
    # A server that has read enough may close its side while its response is still to be read, so this is no error.
    with suppress(PeerGone):
        try:
            await relay_body(exchange.client, server, exchange.request.body, idle_seconds=UPLOAD_SECONDS)
        except (BadMessage, TimeoutError):
            # The dev server waits for a rest that will not come. The browser must not get a response to half a request.
            exchange.client.abort()
            server.abort()
        else:
            return True
    return False


async def _relay_response(exchange: Exchange, server: Transport) -> ResponseHead:
    client = exchange.client
    while True:
        response = await read_response_head(server, exchange, RESPONSE_SECONDS)
        if response.status >= 200:
            break
        # Interim responses are sent only to clients that speak HTTP/1.1 (RFC 9110, 15.2).
        if exchange.request.version == "1.1":
            fields = client_fields(response, exchange.request, dev_port=exchange.dev_port, close=False)
            client.write(serialize_response(response.status, response.reason, fields))
            await client.drain()
    scanner, first, head = scanner_for(response.body), b"", response
    if exchange.context.uncompressed and script_injection.is_injectable(response):
        head, first = await _insert_tag(server, response, scanner)
    close = _closes(exchange, response)
    fields = client_fields(head, exchange.request, dev_port=exchange.dev_port, close=close)
    first = serialize_response(response.status, response.reason, fields) + first
    await relay_body(server, client, response.body, scanner, first=first)
    return response


async def _insert_tag(server: Transport, response: ResponseHead, scanner: Scanner) -> tuple[ResponseHead, bytes]:
    """The head and the first bytes of a page, with the tag if there is a place for it. Raises UpstreamFailed."""
    inserter = script_injection.TagInserter(response.body)
    with suppress(TimeoutError):  # a page whose first bytes come too slowly is sent without the tag
        async with asyncio.timeout(INSERT_SECONDS):
            try:
                while not inserter.feed(take_scanned(server, scanner), whole=scanner.done or server.ended):
                    await server.fill()
            except BadMessage as error:
                raise UpstreamFailed(f"its response is invalid: {error}", may_retry=False) from error
    if not inserter.found:
        return response, inserter.result(b"")
    tag = script_injection.script_tag(response.fields)
    return script_injection.with_longer_body(response, len(tag)), inserter.result(tag)


def _closes(exchange: Exchange, response: ResponseHead) -> bool:
    return exchange.close or isinstance(response.body, UntilClose)


async def read_response_head(server: Transport, exchange: Exchange, seconds: float) -> ResponseHead:
    """The next response head from the dev server, within `seconds`. Raises UpstreamFailed."""
    try:
        async with asyncio.timeout(seconds):
            raw = await read_head(server)
        if raw is not None:
            response = parse_response(raw, method=exchange.request.method)
            if response.status != 101 or exchange.context.upgrade:
                return response
            raise BadMessage("it switched protocols without being asked")
    except TimeoutError:
        raise UpstreamFailed(f"no response within {seconds:.0f} s", may_retry=False, timed_out=True) from None
    except BadMessage as error:
        raise UpstreamFailed(f"its response is invalid: {error}", may_retry=False) from error
    no_bytes = not server.buffer
    raise UpstreamFailed("it closed the connection without a response", may_retry=exchange.repeatable and no_bytes)


async def read_head(transport: Transport) -> bytes | None:
    """The next head without the empty line behind it; None when the peer ended. Raises BadMessage (431)."""
    scanned = 0
    while True:
        end = transport.buffer.find(b"\r\n\r\n", max(0, scanned - 3))
        if end > HEAD_LIMIT or (end < 0 and len(transport.buffer) > HEAD_LIMIT):
            raise BadMessage(f"the header is larger than {HEAD_LIMIT // 1024} KiB", status=431)
        if end >= 0:
            raw = transport.take(end + 4)
            return bytes(raw[:-4])
        if has_bare_lf(transport.buffer, scanned):
            raise BadMessage("a header line does not end in CR LF")
        scanned = len(transport.buffer)
        if not await transport.fill():
            return None


def take_scanned(transport: Transport, scanner: Scanner) -> bytes | bytearray:
    """Remove and return the buffered bytes that belong to the body that `scanner` scans."""
    return transport.take(scanner.feed(transport.buffer))


async def relay_body(
    source: Transport,
    sink: Transport,
    body: Body,
    scanner: Scanner | None = None,
    *,
    first: bytes = b"",
    idle_seconds: float | None = None,
) -> None:
    """Send `first`, then stream one body as it arrives. `scanner`: one that has seen the body's first bytes already.

    Without `idle_seconds` the source may be silent for any time, as an event stream is; the kernel detects a dead
    peer. Raises PeerGone if either side closes too early, TimeoutError, and BadMessage.
    """
    scanner = scanner or scanner_for(body)
    buffered = take_scanned(source, scanner)
    if first or buffered:
        sink.write(first + buffered if first else buffered)
    if not scanner.done:
        ended = await Pipe(source, sink, scanner).run(idle_seconds=idle_seconds)
        if not ended and not isinstance(body, UntilClose):
            raise PeerGone("the connection closed before the body's end")
    await sink.drain()
