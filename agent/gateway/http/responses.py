"""The gateway's own answers, as bytes. Pure.

None is stored but the script, and none is HTML but the pages: who asked for data must not be handed a page to parse.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from agent.gateway.http.heads import write_response

RETRY_SECONDS = 2
SCRIPT_SECONDS = 300

_EVERYWHERE = ((b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff"))
_AGAIN = (b"Retry-After", b"%d" % RETRY_SECONDS)
# An editor that is isolated from other sites shows only frames that say both of themselves (HTML, 7.1.4).
_FRAMED = ((b"Cross-Origin-Embedder-Policy", b"require-corp"), (b"Cross-Origin-Resource-Policy", b"cross-origin"))


def text(status: int, sentence: str, *, wall: float, close: bool, bare: bool = False) -> bytes:
    """A status with one line of text. `close`: the connection's last answer; `bare`: to HEAD, without the body."""
    body = f"{sentence}\n".encode()
    return _whole(status, b"text/plain; charset=utf-8", body, wall=wall, close=close, bare=bare)


def page(body: bytes, policy: str, *, wall: float, close: bool, bare: bool = False) -> bytes:
    """A page instead of the app: 503, so that nobody takes it for the app itself."""
    extra = ((b"Content-Security-Policy", policy.encode()), (b"Referrer-Policy", b"same-origin"), *_FRAMED)
    return _whole(503, b"text/html; charset=utf-8", body, wall=wall, close=close, bare=bare, extra=extra)


def asleep(body: bytes, policy: str, *, wall: float, close: bool) -> bytes:
    """The page that takes the app's place while the machine sleeps: 200, because it is what was asked for."""
    extra = ((b"Content-Security-Policy", policy.encode()), (b"Referrer-Policy", b"same-origin"), *_FRAMED)
    return _whole(200, b"text/html; charset=utf-8", body, wall=wall, close=close, bare=False, extra=extra)


def elsewhere(path: str, *, wall: float, close: bool, status: int = 303) -> bytes:
    """A redirect to `path`, which is one of ours and plain ASCII."""
    return _whole(
        status, b"text/plain", b"", wall=wall, close=close, bare=False, extra=((b"Location", path.encode()), *_FRAMED)
    )


def script(body: bytes, version: bytes, *, known: bool, wall: float, close: bool) -> bytes:
    """The script of the app's pages, or 304 where the browser has this `version` already. It is asked for by every
    page before anything else, so it may be kept for a while.
    """
    fields = [_date(wall), (b"ETag", version), (b"Cache-Control", b"private, max-age=%d" % SCRIPT_SECONDS)]
    if close:
        fields.append((b"Connection", b"close"))
    if known:
        return write_response(304, b"Not Modified", fields)
    kind = [(b"Content-Type", b"text/javascript; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
    return write_response(200, b"OK", [*fields, *kind, (b"Content-Length", b"%d" % len(body))]) + body


def switch(accept: bytes) -> bytes:
    """The end of a WebSocket handshake."""
    upgrade = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", accept))
    return write_response(101, b"Switching Protocols", upgrade)


def stream(*, wall: float, to_opaque: bool) -> bytes:
    """The head of a stream of events; it ends with the connection. `to_opaque`: the page asking is in a sandboxed
    iframe, where its own server counts as a stranger.
    """
    fields = [(b"Content-Type", b"text/event-stream"), (b"Connection", b"close"), (b"X-Accel-Buffering", b"no")]
    if to_opaque:
        fields.append((b"Access-Control-Allow-Origin", b"null"))
    return write_response(200, b"OK", (_date(wall), *fields, *_EVERYWHERE))


def _whole(
    status: int,
    kind: bytes,
    body: bytes,
    *,
    wall: float,
    close: bool,
    bare: bool,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    fields = [_date(wall), (b"Content-Type", kind), (b"Content-Length", b"%d" % len(body)), *_EVERYWHERE, *extra]
    if status == 503:
        fields.append(_AGAIN)
    if close:
        fields.append((b"Connection", b"close"))
    head = write_response(status, HTTPStatus(status).phrase.encode(), fields)
    return head if bare else head + body


def _date(wall: float) -> tuple[bytes, bytes]:
    return b"Date", formatdate(wall, usegmt=True).encode()
