"""HTTP/1.1 message heads as bytes: validated, parsed and serialized, and where the body behind a head ends (RFC 9112).
Pure.

A head keeps the sender's order, case and repetition of fields. Parsing is strict, because two programs that disagree
on where a request ends can be made to send a response to the wrong client (request smuggling): no folded lines, no bare
CR or LF, no space before a colon; in requests no repeated Content-Length, none beside Transfer-Encoding, and no coding
but `chunked`.

What must not live here: sockets, and what a proxy changes in a head (forwarded_headers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from agent.errors import AgentError

HEAD_LIMIT = 64 * 1024
"""Bytes of one head. Node's own limit is 16 KiB, and a request between the two gets its 431 from Node."""
FIELDS_LIMIT = 200

Fields = tuple[tuple[bytes, bytes], ...]


class BadMessage(AgentError):
    """The message is not valid HTTP/1.1. If it is a request, `status` is the one to answer it with."""

    code: ClassVar[str] = "bad_message"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Length:
    """Exactly `size` bytes follow the head; 0 if there is no body."""

    size: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """The body marks its own end (bodies.ChunkScanner)."""


@dataclass(frozen=True, slots=True)
class UntilClose:
    """The body ends with the connection. Only responses may end so."""


Body = Length | Chunked | UntilClose
NO_BODY = Length(0)


@dataclass(frozen=True, slots=True)
class RequestHead:
    method: str
    target: str
    """The target to send upstream, byte for byte as received: the origin form ("/path?query"), or "*"."""
    version: str
    fields: Fields
    """The host of a target in absolute form replaces every Host field (RFC 9112, 3.2.2)."""
    body: Body


@dataclass(frozen=True, slots=True)
class ResponseHead:
    status: int
    reason: bytes
    """The reason phrase, which some clients read."""
    fields: Fields
    body: Body
    keep_alive: bool
    """The server leaves the connection open after this response."""


_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_DIGITS = re.compile(rb"[0-9]{1,18}")


def values(fields: Fields, name: bytes) -> list[bytes]:
    """All values of the field `name` (in lower case), in their order."""
    return [value for key, value in fields if key.lower() == name]


def tokens(fields: Fields, name: bytes) -> list[bytes]:
    """The members of the field `name`, a comma-separated list, in lower case."""
    members = (part.strip(b" \t").lower() for value in values(fields, name) for part in value.split(b","))
    return [member for member in members if member]


def has_bare_lf(raw: bytes | bytearray, start: int) -> bool:
    """True if the buffer contains a bare LF, so no further input can make it a valid head. `start`: the offset to
    scan from; everything before it was scanned already.
    """
    return _BARE_LF.search(raw, start) is not None


def parse_request(raw: bytes) -> RequestHead:
    """Parse a request head without the empty line that ends it. Raises BadMessage."""
    first, lines = _split_lines(raw)
    found = _REQUEST_LINE.fullmatch(first)
    if not found:
        raise BadMessage("the request line is not a method, a target and a version")
    if found[3] != b"1":
        raise BadMessage("only HTTP/1.1 and 1.0 are supported", status=505)
    method, version = found[1].decode(), "1.0" if found[4] == b"0" else "1.1"
    fields = _parse_fields(lines)
    hosts = values(fields, b"host")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise BadMessage("a request needs exactly one Host")
    target, authority = _parse_target(method, found[2].decode("latin-1"))
    if authority:
        hosts = [authority]
        fields = ((b"Host", authority), *(field for field in fields if field[0].lower() != b"host"))
    if not all(map(_HOST.fullmatch, hosts)):
        raise BadMessage("Host has to be a host name or an IP address, optionally with a port")
    return RequestHead(method, target, version, fields, _request_body(fields, version))


def parse_response(raw: bytes, *, method: str) -> ResponseHead:
    """Parse the head of a response to a `method` request, without the empty line that ends it. Raises BadMessage."""
    first, lines = _split_lines(raw)
    found = _STATUS_LINE.fullmatch(first)
    if not found:
        raise BadMessage("the response does not begin with a status line")
    fields, status = _parse_fields(lines), int(found[2])
    connection = tokens(fields, b"connection")
    keep_alive = b"close" not in connection and (found[1] == b"1" or b"keep-alive" in connection)
    body = _response_body(fields, status, method)
    return ResponseHead(status, found[3] or b"", fields, body, keep_alive and not isinstance(body, UntilClose))


def serialize_request(method: str, target: str, version: str, fields: Fields) -> bytes:
    return _serialize(f"{method} {target} HTTP/{version}".encode("latin-1"), fields)


def serialize_response(status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _serialize(b"HTTP/1.1 %d %b" % (status, reason), fields)


def _serialize(first: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([first, *(b"%b: %b" % field for field in fields), b"", b""])


def _split_lines(raw: bytes) -> tuple[bytes, list[bytes]]:
    first, *rest = raw.split(b"\r\n")
    if _FORBIDDEN.search(first) or any(map(_FORBIDDEN.search, rest)):
        raise BadMessage("a header contains a control character or a line that does not end in CR LF")
    if len(rest) > FIELDS_LIMIT:
        raise BadMessage(f"more than {FIELDS_LIMIT} header fields", status=431)
    return first, rest


def _parse_fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadMessage("a header line is not a name, a colon and a value")
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)


def _parse_target(method: str, target: str) -> tuple[str, bytes]:
    """The target in origin form, and the host if it was in absolute form."""
    if method == "CONNECT":
        raise BadMessage("CONNECT is not supported")
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, b""
    found = _ABSOLUTE.match(target)
    if not found:
        raise BadMessage("the request target is neither a path nor an http address")
    path, host = target[found.end() :], found[1].rpartition("@")[2]
    return path if path.startswith("/") else f"/{path}", host.encode("latin-1")


def _request_body(fields: Fields, version: str) -> Body:
    codings, lengths = values(fields, b"transfer-encoding"), values(fields, b"content-length")
    if codings:
        if lengths or version == "1.0":
            raise BadMessage("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadMessage("the only supported transfer coding is chunked", status=501)
        return Chunked()
    if len(lengths) > 1:
        raise BadMessage("Content-Length is repeated")
    return _parse_length(lengths) or NO_BODY


def _response_body(fields: Fields, status: int, method: str) -> Body:
    if method == "HEAD" or status < 200 or status in {204, 304}:
        return NO_BODY
    codings = tokens(fields, b"transfer-encoding")
    if codings:
        return Chunked() if codings[-1] == b"chunked" else UntilClose()
    return _parse_length(values(fields, b"content-length")) or UntilClose()


def _parse_length(lengths: list[bytes]) -> Length | None:
    if not lengths:
        return None
    if len(set(lengths)) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise BadMessage("Content-Length is not one number")
    return Length(int(lengths[0]))
