"""HTTP/1.1 message heads as bytes: what may pass, and where the body behind a head ends (RFC 9112).

A head is kept as it came: order, case and repetition of the fields are the sender's. What is read is read strictly,
because two programs that disagree about where a request ends can be made to answer the wrong person: no folded
lines, no bare CR or LF, no space before a colon, no length next to chunks or twice, no coding but `chunked`.

What must not live here: sockets, and what a proxy changes in a head (headers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from agent.errors import AgentError

HEAD_LIMIT = 64 * 1024
"""Bytes of one head. Node's own limit is 16 KiB, and it says 431 by itself in between."""
FIELDS_LIMIT = 200

Fields = tuple[tuple[bytes, bytes], ...]


class BadMessage(AgentError):
    """A message that cannot be read. `status` is the answer that its sender deserves, where it is a request."""

    code: ClassVar[str] = "bad_message"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Length:
    """Exactly `size` bytes follow the head; 0 is how "no body" is said."""

    size: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """The body carries its own end (chunked.py)."""


@dataclass(frozen=True, slots=True)
class UntilClose:
    """The body ends with the connection; only responses have that."""


Body = Length | Chunked | UntilClose
NOTHING = Length(0)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """`target` is what goes upstream: the origin form ("/path?query"), byte for byte as it came, or "*". Where an
    absolute form came, its host is the only Host among the `fields` (RFC 9112, 3.2.2).
    """

    method: str
    target: str
    version: str
    fields: Fields
    body: Body


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """`reason` is kept because some peers read it. `keeps` says whether the sender leaves the connection open."""

    status: int
    reason: bytes
    fields: Fields
    body: Body
    keeps: bool


_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_BARE = re.compile(rb"(?<!\r)\n")
_DIGITS = re.compile(rb"[0-9]{1,18}")


def values(fields: Fields, name: bytes) -> list[bytes]:
    """Every value of the field `name`, which is given in lower case."""
    return [value for key, value in fields if key.lower() == name]


def tokens(fields: Fields, name: bytes) -> list[bytes]:
    """The members of a field that is a comma-separated list of names, in lower case."""
    members = (part.strip(b" \t").lower() for value in values(fields, name) for part in value.split(b","))
    return [member for member in members if member]


def unsound(raw: bytes | bytearray, start: int) -> bool:
    """Can no more bytes make a head of this any more? `start`: how much of it was looked at before."""
    return _BARE.search(raw, start) is not None


def parse_request(raw: bytes) -> RequestHead:
    """Read a head, given without the empty line that ends it; raises BadMessage."""
    first, lines = _lines(raw)
    found = _REQUEST_LINE.fullmatch(first)
    if not found:
        raise BadMessage("the request line is not a method, a target and a version")
    if found[3] != b"1":
        raise BadMessage("this port speaks HTTP/1.1", status=505)
    method, version = found[1].decode(), "1.0" if found[4] == b"0" else "1.1"
    fields = _fields(lines)
    hosts = values(fields, b"host")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise BadMessage("a request names exactly one Host")
    target, authority = _target(method, found[2].decode("latin-1"))
    if authority:
        hosts = [authority]
        fields = ((b"Host", authority), *(field for field in fields if field[0].lower() != b"host"))
    if not all(map(_HOST.fullmatch, hosts)):
        raise BadMessage("the Host is not a name or an address with a port")
    return RequestHead(method, target, version, fields, _sent(fields, version))


def parse_response(raw: bytes, *, method: str) -> ResponseHead:
    """Read the head of an answer to `method`, given without the empty line that ends it; raises BadMessage."""
    first, lines = _lines(raw)
    found = _STATUS_LINE.fullmatch(first)
    if not found:
        raise BadMessage("the answer does not begin with a status line")
    fields, status = _fields(lines), int(found[2])
    connection = tokens(fields, b"connection")
    keeps = b"close" not in connection and (found[1] == b"1" or b"keep-alive" in connection)
    body = _answered(fields, status, method)
    return ResponseHead(status, found[3] or b"", fields, body, keeps and not isinstance(body, UntilClose))


def write_request(method: str, target: str, version: str, fields: Fields) -> bytes:
    return _joined(f"{method} {target} HTTP/{version}".encode("latin-1"), fields)


def write_response(status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _joined(b"HTTP/1.1 %d %b" % (status, reason), fields)


def _joined(first: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([first, *(b"%b: %b" % field for field in fields), b"", b""])


def _lines(raw: bytes) -> tuple[bytes, list[bytes]]:
    first, *rest = raw.split(b"\r\n")
    if _FORBIDDEN.search(first) or any(map(_FORBIDDEN.search, rest)):
        raise BadMessage("a control character, or a line that does not end in CR LF")
    if len(rest) > FIELDS_LIMIT:
        raise BadMessage(f"more than {FIELDS_LIMIT} header fields", status=431)
    return first, rest


def _fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadMessage("a header line is not a name, a colon and a value")
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)


def _target(method: str, target: str) -> tuple[str, bytes]:
    """The target in its origin form, and the host of an absolute one."""
    if method == "CONNECT":
        raise BadMessage("this port is no tunnel to other hosts")
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, b""
    found = _ABSOLUTE.match(target)
    if not found:
        raise BadMessage("the target is neither a path nor an http address")
    path, host = target[found.end() :], found[1].rpartition("@")[2]
    return path if path.startswith("/") else f"/{path}", host.encode("latin-1")


def _sent(fields: Fields, version: str) -> Body:
    codings, lengths = values(fields, b"transfer-encoding"), values(fields, b"content-length")
    if codings:
        if lengths or version == "1.0":
            raise BadMessage("Transfer-Encoding next to Content-Length, or in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadMessage("the only transfer coding is chunked", status=501)
        return Chunked()
    if len(lengths) > 1:
        raise BadMessage("Content-Length came twice")
    return _length(lengths) or NOTHING


def _answered(fields: Fields, status: int, method: str) -> Body:
    if method == "HEAD" or status < 200 or status in {204, 304}:
        return NOTHING
    codings = tokens(fields, b"transfer-encoding")
    if codings:
        return Chunked() if codings[-1] == b"chunked" else UntilClose()
    return _length(values(fields, b"content-length")) or UntilClose()


def _length(lengths: list[bytes]) -> Length | None:
    if not lengths:
        return None
    if len(set(lengths)) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise BadMessage("Content-Length is not one number")
    return Length(int(lengths[0]))
