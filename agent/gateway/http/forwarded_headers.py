"""What a proxy changes in a header. Every other field passes in its order, case and number. Pure.

To the dev server: the browser's Host stays, because Next's Server Actions check it; the X-Forwarded fields are added;
Origin is removed where Next's development server would refuse it for naming another host. A server that answers only
requests for its own address (Vite's does) gets that address as Host; X-Forwarded-Host then holds the browser's.

To the browser: hop-by-hop fields are removed, and a Location that names the dev server's port, which is not reachable
from outside, is rewritten to one that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.gateway.http.heads import Fields, RequestHead, ResponseHead, tokens, values

# RFC 9110, 7.6.1. Transfer-Encoding is not among them: chunks pass unchanged, so their coding does too.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
_KEPT = frozenset({b"transfer-encoding", b"content-length", b"host"})
"""Kept even if Connection names them, because they delimit and route the message."""

_DEV_HOST = re.compile(
    rb"(?:[a-z][a-z0-9+.-]*:)?//(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):([0-9]+)(?=[/?#]|$)", re.IGNORECASE
)
_NAMES = re.compile(rb"[A-Za-z0-9.:_\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class ForwardContext:
    """What decides about the header fields of one forwarded request."""

    peer: str
    """The address that connected."""
    internal: bool = False
    """The path belongs to Next's own development server (policy/request.py)."""
    upgrade: bool = False
    """The request is a WebSocket handshake, whose fields are kept."""
    uncompressed: bool = False
    """Ask for a response without compression, so that a tag can be inserted."""
    dev_host: bytes | None = None
    """The Host that the dev server expects in place of the browser's."""
    compares_origin: bool = False
    """The dev server compares Origin with Host, so this preview's Origin has to become one of `dev_host`."""


def upstream_fields(head: RequestHead, context: ForwardContext) -> Fields:
    """The header fields that are sent to the dev server."""
    named = frozenset(tokens(head.fields, b"connection")) - _KEPT
    fields = []
    for field in head.fields:
        name = field[0].lower()
        if name in _HOP_BY_HOP or name in named or name == b"x-forwarded-for":
            continue
        if (context.internal and name == b"origin") or (context.uncompressed and name == b"accept-encoding"):
            continue
        if context.dev_host is not None and name in {b"host", b"origin"}:
            field = (field[0], _for_dev_host(name, field[1], head.fields, context))  # noqa: PLW2901 - the rewritten one
        fields.append(field)
    if context.uncompressed:
        fields.append((b"Accept-Encoding", b"identity"))
    if context.upgrade:
        # Only WebSocket is passed on: a tunnel of HTTP/2 would carry requests that the gateway has not checked.
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    came_by = [*values(head.fields, b"x-forwarded-for"), context.peer.encode("latin-1")]
    fields.append((b"X-Forwarded-For", b", ".join(came_by)))
    present = {name.lower() for name, _ in fields}
    host = b"".join(values(head.fields, b"host"))
    scheme = _scheme(head.fields)
    for name, value in (
        (b"X-Forwarded-Host", host),
        (b"X-Forwarded-Proto", scheme),
        (b"X-Forwarded-Port", _port(host, scheme)),
    ):
        if value and name.lower() not in present:
            fields.append((name, value))
    return tuple(fields)


def _for_dev_host(name: bytes, value: bytes, fields: Fields, context: ForwardContext) -> bytes:
    """Host, or Origin, as a server expects it that knows only its own address. An Origin of another site stays."""
    dev_host = context.dev_host or b""
    if name == b"host":
        return dev_host
    compares = context.compares_origin or context.upgrade
    return b"http://" + dev_host if compares and value.lower() == public_origin(fields).lower() else value


def client_fields(response: ResponseHead, request: RequestHead, *, dev_port: int, close: bool) -> Fields:
    """The header fields that are sent to the browser. `close`: the connection closes after this response."""
    named = frozenset(tokens(response.fields, b"connection")) - _KEPT
    upgraded = response.status == 101
    lengths = 0 if values(response.fields, b"transfer-encoding") else 1
    fields = []
    for name, value in response.fields:
        key = name.lower()
        if (key in _HOP_BY_HOP or key in named) and not (upgraded and key in {b"connection", b"upgrade"}):
            continue
        if key == b"content-length":  # chunked overrides it, and a repeated one is sent once (RFC 9112, 6.3)
            lengths -= 1
            if lengths < 0:
                continue
        fields.append((name, _public_location(value, request, dev_port) if key == b"location" else value))
    if close and not upgraded:
        fields.append((b"Connection", b"close"))
    return tuple(fields)


def public_origin(fields: Fields) -> bytes:
    """The origin that the browser used (`https://host`); empty if the request does not name a valid one."""
    host = b"".join(values(fields, b"x-forwarded-host")[:1] or values(fields, b"host")[:1])
    return b"%b://%b" % (_scheme(fields), host) if _NAMES.fullmatch(host) else b""


def _public_location(location: bytes, request: RequestHead, dev_port: int) -> bytes:
    found = _DEV_HOST.match(location)
    if not found or int(found[1]) != dev_port:
        return location
    rest = location[found.end() :]
    path = rest if rest.startswith(b"/") else b"/" + rest
    # As a reference, "//name" is another host. With the origin before it, it stays a path.
    return public_origin(request.fields) + path if re.match(rb"/[/\\]", path) else path


def _scheme(fields: Fields) -> bytes:
    scheme = b"".join(values(fields, b"x-forwarded-proto")[:1]).split(b",")[0].strip().lower()
    return scheme if scheme in {b"http", b"https"} else b"http"


def _port(host: bytes, scheme: bytes) -> bytes:
    found = re.search(rb":([0-9]{1,5})$", host)
    return found[1] if found else (b"443" if scheme == b"https" else b"80")
