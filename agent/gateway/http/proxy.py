"""One request to the dev server and its answer back, as streams: nothing is collected, decoded or compressed.

Invariants: an answer's body is passed on in the framing it came in, so what was cut off upstream is cut off for the
browser too and never looks whole. A page gets one tag more (injection.py); until its place is seen, its head waits.
A request is sent a second time only if nothing of an answer was seen and nothing of its body was needed. The caller
cancels the exchange when the browser vanishes; leaving `Upstream.link` closes the connection to the dev server, which
is how Next learns of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from agent.errors import AgentError
from agent.gateway.http.bodies import Scanner, scanner
from agent.gateway.http.forwarded_headers import Way, to_client, to_upstream
from agent.gateway.http.heads import (
    HEAD_LIMIT,
    NOTHING,
    BadMessage,
    Body,
    RequestHead,
    ResponseHead,
    UntilClose,
    parse_response,
    unsound,
    write_request,
    write_response,
)
from agent.gateway.http.transport import Vanished, Wire
from agent.gateway.http.upstream import Upstream
from agent.gateway.policy import script_injection

ANSWER_SECONDS = 300.0
"""A first compile on a small machine takes its time; a dev server that hangs is the supervisor's affair."""
START_SECONDS = 10.0
"""How long the first bytes of a page are held until they show where its head begins. Next sends that at once."""
UPLOAD_SECONDS = 60.0
"""How long a browser may send nothing in the middle of a body."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Broken(AgentError):
    """The dev server did not answer, or with something that is no answer. Nothing was sent to the browser yet.

    `again`: the same request may be sent once more. `late`: it was given its time.
    """

    code = "dev_server_broke_off"
    retryable = True

    def __init__(self, message: str, *, again: bool, late: bool = False) -> None:
        super().__init__(message)
        self.again = again
        self.late = late


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it came in. `client` may hold more of it, and of the requests behind it."""

    client: Wire
    head: RequestHead
    way: Way
    dev_port: int
    close: bool
    """The browser asked for this to be the connection's last answer."""

    @property
    def repeatable(self) -> bool:
        return self.head.method in SAFE and self.head.body == NOTHING

    def first_bytes(self) -> bytes:
        return write_request(self.head.method, self.head.target, self.head.version, to_upstream(self.head, self.way))


async def forward(exchange: Exchange, upstream: Upstream) -> bool:
    """Carry one request out; False when the browser's connection cannot take another one.

    Raises NotThere and Broken while nothing was answered yet, Vanished and BadMessage when it is too late for that.
    """
    async with upstream.link(used=exchange.repeatable) as link:
        link.wire.write(exchange.first_bytes())
        if exchange.head.body == NOTHING:
            answer = await _answer(exchange, link.wire)
            sent_all = True
        else:
            answer, sent_all = await _with_body(exchange, link.wire)
        link.clean = answer.keeps and sent_all and exchange.head.version == "1.1"
        return sent_all and not _last(exchange, answer)


async def _with_body(exchange: Exchange, server: Wire) -> tuple[ResponseHead, bool]:
    """Send the body while the answer is awaited: a server may answer, or say 100, before it has read everything."""
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send(exchange, server))
        try:
            answer = await _answer(exchange, server)
        except (AgentError, Vanished) as error:
            failed: Exception | None = error  # raised below, where no group wraps it
        else:
            failed = None
        sent_all = sending.done() and sending.result()
        sending.cancel()
    if failed is not None:
        raise failed
    return answer, sent_all


async def _send(exchange: Exchange, server: Wire) -> bool:
    # A server that has heard enough closes its side; its answer is still to be read, so this is no error.
    with suppress(Vanished):
        try:
            await relay(exchange.client, server, exchange.head.body, patience=UPLOAD_SECONDS)
        except (BadMessage, TimeoutError):
            # The dev server waits for the rest, which will not come; the browser gets no answer it could mistake.
            exchange.client.abort()
            server.abort()
        else:
            return True
    return False


async def _answer(exchange: Exchange, server: Wire) -> ResponseHead:
    client = exchange.client
    while True:
        answer = await read_answer(server, exchange, ANSWER_SECONDS)
        if answer.status >= 200:
            break
        # 100 is for those who asked, 103 and others for those who know HTTP/1.1 (RFC 9110, 15.2).
        if exchange.head.version == "1.1":
            fields = to_client(answer, exchange.head, dev_port=exchange.dev_port, close=False)
            client.write(write_response(answer.status, answer.reason, fields))
            await client.drain()
    close = _last(exchange, answer)
    ends, start, shown = scanner(answer.body), b"", answer
    if exchange.way.plain and script_injection.wanted(answer):
        shown, start = await _with_tag(server, answer, ends)
    fields = to_client(shown, exchange.head, dev_port=exchange.dev_port, close=close)
    await relay(server, client, answer.body, ends, first=write_response(answer.status, answer.reason, fields) + start)
    return answer


async def _with_tag(server: Wire, answer: ResponseHead, ends: Scanner) -> tuple[ResponseHead, bytes]:
    """The head and the first bytes of a page, with the tag if it has a place; raises Broken."""
    splice = script_injection.Splice(answer.body)
    # Who is slow to begin gets its page without the tag.
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            try:
                while not splice.feed(server.take_scanned(ends), whole=ends.done or server.ended):
                    await server.fill()
            except BadMessage as error:
                raise Broken(f"its answer cannot be read: {error}", again=False) from error
    if not splice.found:
        return answer, splice.written(b"")
    tag = script_injection.tag(answer.fields)
    return script_injection.changed(answer, len(tag)), splice.written(tag)


def _last(exchange: Exchange, answer: ResponseHead) -> bool:
    return exchange.close or isinstance(answer.body, UntilClose)


async def read_answer(server: Wire, exchange: Exchange, patience: float) -> ResponseHead:
    """The next head that the dev server sends; raises Broken."""
    try:
        async with asyncio.timeout(patience):
            raw = await read_head(server)
        if raw is not None:
            answer = parse_response(raw, method=exchange.head.method)
            if answer.status != 101 or exchange.way.upgrade:
                return answer
            raise BadMessage("it switched protocols without being asked")
    except TimeoutError:
        raise Broken(f"no answer within {patience:.0f} s", again=False, late=True) from None
    except BadMessage as error:
        raise Broken(f"its answer cannot be read: {error}", again=False) from error
    empty = not server.buffer
    raise Broken("it closed the connection without an answer", again=exchange.repeatable and empty)


async def read_head(wire: Wire) -> bytes | None:
    """The next head without the empty line behind it, or None when the other side ended. Raises BadMessage (431)."""
    seen = 0
    while True:
        end = wire.buffer.find(b"\r\n\r\n", max(0, seen - 3))
        if end > HEAD_LIMIT or (end < 0 and len(wire.buffer) > HEAD_LIMIT):
            raise BadMessage(f"the header is larger than {HEAD_LIMIT // 1024} KiB", status=431)
        if end >= 0:
            raw = wire.take(end + 4)
            return bytes(raw[:-4])
        if unsound(wire.buffer, seen):
            raise BadMessage("a line that does not end in CR LF")
        seen = len(wire.buffer)
        if not await wire.fill():
            return None


async def relay(
    source: Wire,
    sink: Wire,
    body: Body,
    ends: Scanner | None = None,
    *,
    first: bytes = b"",
    patience: float | None = None,
) -> None:
    """Pass one body on as it comes, behind `first`. `ends`: a scanner that saw its first bytes already.

    Without `patience` the source may be silent for as long as it likes: a stream of events is, and a dead peer is
    noticed by the kernel. Raises Vanished if either side is gone too early, TimeoutError, and BadMessage.
    """
    ends = ends or scanner(body)
    piece = source.take_scanned(ends)
    if first or piece:
        sink.write(first + piece if first else piece)
    if not (ends.done or await source.pour(sink, ends, patience=patience) or isinstance(body, UntilClose)):
        raise Vanished("a body ended before its time")
    await sink.drain()
