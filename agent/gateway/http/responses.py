"""The gateway's own responses, as bytes. Pure.

Only the script may be cached. Only the pages are HTML: a client that asked for data must not get a page to parse.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from agent.gateway.http.heads import serialize_response

RETRY_SECONDS = 2
SCRIPT_SECONDS = 300

_UNCACHED = ((b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff"))
_RETRY_AFTER = (b"Retry-After", b"%d" % RETRY_SECONDS)
# An editor that is cross-origin isolated shows only frames that send both of these (HTML, 7.1.4).
_FRAMED = ((b"Cross-Origin-Embedder-Policy", b"require-corp"), (b"Cross-Origin-Resource-Policy", b"cross-origin"))


def text(status: int, sentence: str, *, wall: float, close: bool, head_only: bool = False) -> bytes:
    """One line of plain text. `close`: the connection closes after it; `head_only`: the request was a HEAD."""
    body = f"{sentence}\n".encode()
    return _response(status, b"text/plain; charset=utf-8", body, wall=wall, close=close, head_only=head_only)


def page(body: bytes, policy: str, *, wall: float, close: bool, head_only: bool = False) -> bytes:
    """The waking or the failed page. Its status is 503, so that no client takes it for the app's own page."""
    return _html(503, body, policy, wall=wall, close=close, head_only=head_only)


def asleep_page(body: bytes, policy: str, *, wall: float, close: bool) -> bytes:
    """The asleep page. Its status is 200, because it has an address of its own, which the browser asked for."""
    return _html(200, body, policy, wall=wall, close=close, head_only=False)


def redirect(path: str, *, wall: float, close: bool, status: int = 303) -> bytes:
    """A redirect to `path`, which is a path of this preview in plain ASCII."""
    extra = ((b"Location", path.encode()), *_FRAMED)
    return _response(status, b"text/plain", b"", wall=wall, close=close, head_only=False, extra=extra)


def script(body: bytes, etag: bytes, *, unchanged: bool, wall: float, close: bool) -> bytes:
    """The script of the app's pages; 304 if the browser's copy is `unchanged`. Every page loads it before anything
    else, so it may be cached for SCRIPT_SECONDS.
    """
    fields = [_date(wall), (b"ETag", etag), (b"Cache-Control", b"private, max-age=%d" % SCRIPT_SECONDS)]
    if close:
        fields.append((b"Connection", b"close"))
    if unchanged:
        return serialize_response(304, b"Not Modified", fields)
    content = [(b"Content-Type", b"text/javascript; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
    return serialize_response(200, b"OK", [*fields, *content, (b"Content-Length", b"%d" % len(body))]) + body


def switching_protocols(accept: bytes) -> bytes:
    """The response that completes a WebSocket handshake."""
    upgrade = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", accept))
    return serialize_response(101, b"Switching Protocols", upgrade)


def event_stream_head(*, wall: float, allow_opaque: bool) -> bytes:
    """The head of an event stream, which ends with the connection. `allow_opaque`: the request's Origin is `null`, as
    in a sandboxed iframe, where the page's own server counts as another origin.
    """
    fields = [(b"Content-Type", b"text/event-stream"), (b"Connection", b"close"), (b"X-Accel-Buffering", b"no")]
    if allow_opaque:
        fields.append((b"Access-Control-Allow-Origin", b"null"))
    return serialize_response(200, b"OK", (_date(wall), *fields, *_UNCACHED))


def _html(status: int, body: bytes, policy: str, *, wall: float, close: bool, head_only: bool) -> bytes:
    extra = ((b"Content-Security-Policy", policy.encode()), (b"Referrer-Policy", b"same-origin"), *_FRAMED)
    return _response(
        status, b"text/html; charset=utf-8", body, wall=wall, close=close, head_only=head_only, extra=extra
    )


def _response(
    status: int,
    content_type: bytes,
    body: bytes,
    *,
    wall: float,
    close: bool,
    head_only: bool,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    length = (b"Content-Length", b"%d" % len(body))
    fields = [_date(wall), (b"Content-Type", content_type), length, *_UNCACHED, *extra]
    if status == 503:
        fields.append(_RETRY_AFTER)
    if close:
        fields.append((b"Connection", b"close"))
    head = serialize_response(status, HTTPStatus(status).phrase.encode(), fields)
    return head if head_only else head + body


def _date(wall: float) -> tuple[bytes, bytes]:
    return b"Date", formatdate(wall, usegmt=True).encode()
