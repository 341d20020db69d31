"""What a proxy changes in a head, and nothing else: every other field passes in its order, case and number.

Upstream the browser's Host stays (Next builds Server Action checks on it), the way it came is added, and Origin goes
where Next's development server would refuse it for naming another host. A server that answers only requests for its own
address (Vite's does) gets that as Host; what the browser said is then in X-Forwarded-Host. Downstream the connection's
own fields go, and a Location that names the dev server's port, which nobody outside can reach, becomes one that works.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.gateway.http.heads import Fields, RequestHead, ResponseHead, tokens, values

# RFC 9110, 7.6.1. Transfer-Encoding is not among them: a body's chunks pass as they are, so its coding does too.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
_KEPT = frozenset({b"transfer-encoding", b"content-length", b"host"})
"""Named in Connection or not, these say where a message ends and whom it is for."""

_DEV_HOST = re.compile(
    rb"(?:[a-z][a-z0-9+.-]*:)?//(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):([0-9]+)(?=[/?#]|$)", re.IGNORECASE
)
_NAMES = re.compile(rb"[A-Za-z0-9.:_\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class Way:
    """How a request came in. `peer` is the address that connected; `internal` is true for paths of Next's own
    development server (routing.py says which); `upgrade` keeps what a WebSocket handshake is made of; `plain` asks for
    an answer that is not compressed. `host`: the Host that the dev server wants to see instead of the browser's;
    `origin`: it compares the two, so that an Origin of this preview has to become one of that host.
    """

    peer: str
    internal: bool = False
    upgrade: bool = False
    plain: bool = False
    host: bytes | None = None
    origin: bool = False


def to_upstream(head: RequestHead, way: Way) -> Fields:
    """The fields that the dev server gets."""
    named = frozenset(tokens(head.fields, b"connection")) - _KEPT
    fields = []
    for field in head.fields:
        name = field[0].lower()
        if name in _HOP_BY_HOP or name in named or name == b"x-forwarded-for" or (way.internal and name == b"origin"):
            continue
        if way.plain and name == b"accept-encoding":
            continue
        if way.host is not None and name in {b"host", b"origin"}:
            field = (field[0], _for_own_host(name, field[1], head.fields, way))  # noqa: PLW2901 - the one to be sent
        fields.append(field)
    if way.plain:
        fields.append((b"Accept-Encoding", b"identity"))
    if way.upgrade:
        # And nothing else that was offered: HTTP/2 in a tunnel would carry requests that nobody here has read.
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    came_by = [*values(head.fields, b"x-forwarded-for"), way.peer.encode("latin-1")]
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


def _for_own_host(name: bytes, value: bytes, fields: Fields, way: Way) -> bytes:
    """Host, or Origin, as a server takes it that knows only its own address. An Origin of another site stays."""
    own = way.host or b""
    if name == b"host":
        return own
    rewritten = (way.origin or way.upgrade) and value.lower() == public_origin(fields).lower()
    return b"http://" + own if rewritten else value


def to_client(answer: ResponseHead, request: RequestHead, *, dev_port: int, close: bool) -> Fields:
    """The fields that the browser gets. `close`: this answer is the connection's last."""
    named = frozenset(tokens(answer.fields, b"connection")) - _KEPT
    upgraded = answer.status == 101
    lengths = 0 if values(answer.fields, b"transfer-encoding") else 1
    fields = []
    for name, value in answer.fields:
        key = name.lower()
        if (key in _HOP_BY_HOP or key in named) and not (upgraded and key in {b"connection", b"upgrade"}):
            continue
        if key == b"content-length":  # chunks override it, and one that came twice is said once (RFC 9112, 6.3)
            lengths -= 1
            if lengths < 0:
                continue
        fields.append((name, _outward(value, request, dev_port) if key == b"location" else value))
    if close and not upgraded:
        fields.append((b"Connection", b"close"))
    return tuple(fields)


def public_origin(fields: Fields) -> bytes:
    """The address the browser used, without a path; empty where the request does not say it in a usable way."""
    host = b"".join(values(fields, b"x-forwarded-host")[:1] or values(fields, b"host")[:1])
    return b"%b://%b" % (_scheme(fields), host) if _NAMES.fullmatch(host) else b""


def _outward(location: bytes, request: RequestHead, dev_port: int) -> bytes:
    found = _DEV_HOST.match(location)
    if not found or int(found[1]) != dev_port:
        return location
    rest = location[found.end() :]
    path = rest if rest.startswith(b"/") else b"/" + rest
    # "//elsewhere" read as a reference is another host: with the origin before it, it stays the path it was.
    return public_origin(request.fields) + path if re.match(rb"/[/\\]", path) else path


def _scheme(fields: Fields) -> bytes:
    said = b"".join(values(fields, b"x-forwarded-proto")[:1]).split(b",")[0].strip().lower()
    return said if said in {b"http", b"https"} else b"http"


def _port(host: bytes, scheme: bytes) -> bytes:
    found = re.search(rb":([0-9]{1,5})$", host)
    return found[1] if found else (b"443" if scheme == b"https" else b"80")
