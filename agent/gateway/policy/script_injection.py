"""Which of the app's answers carry the gateway's script, and where in their bytes its tag goes. Pure.

The tag stands where the HTML parser begins the content of the head: right behind `<head …>`, or, where an answer has
no such tag, before the first tag that makes the parser imply one. What the parser passes over on the way (a byte order
mark, spaces, comments, the doctype, `<html …>`) is read by its rules (HTML, 13.2.5). An answer that begins with text
instead, or has no place within its first 16 KiB, is passed on untouched.

Invariants: the same bytes get the tag at the same place however they arrive in pieces. Without the tag the body is the
original, byte for byte; a chunked one has one chunk that is longer, all others stay as they were cut.

What must not live here: waiting for the bytes (proxy.py), and what the script does (pages/shim.js).
"""

from __future__ import annotations

import re
from dataclasses import replace

from agent.gateway.http.bodies import ChunkScanner
from agent.gateway.http.heads import Body, Chunked, Fields, Length, RequestHead, ResponseHead, tokens, values
from agent.gateway.policy.routing import Request

SOURCE = b"/__preview/shim.js"
PLACE_LIMIT = 16 * 1024
"""Bytes of content in which the place has to be."""
RAW_LIMIT = 8 * PLACE_LIMIT
"""The same with the framing of chunks of one byte each, which take six."""

_UNCHANGED = frozenset({204, 205, 206})
# They describe the bytes as the dev server made them, or promise parts of them.
_UNTRUE = frozenset(
    {b"etag", b"last-modified", b"accept-ranges", b"content-digest", b"repr-digest", b"digest", b"content-md5"}
)
_ASCII_BASED = re.compile(rb"utf-?8|us-ascii|iso-8859-[0-9]+|windows-125[0-8]|latin1", re.IGNORECASE)
_CHARSET = re.compile(rb";[ \t]*charset=\"?([^\";,\s]+)", re.IGNORECASE)
_NONCE = re.compile(rb"'nonce-([A-Za-z0-9+/_-]+={0,2})'")
_SCRIPT_RULES = (b"script-src-elem", b"script-src", b"default-src")

_BOM = b"\xef\xbb\xbf"
_SPACES = re.compile(rb"[ \t\n\f\r]*")
_COMMENT = re.compile(rb"<!--(?:-?>|.*?--!?>)", re.DOTALL)
_TAG_NAME = re.compile(rb"<([A-Za-z][^ \t\n\f\r/>]*)[ \t\n\f\r/>]")
_TAG_END = re.compile(
    rb"""(?: [ \t\n\f\r/]++
           | (?> [^ \t\n\f\r/>] [^ \t\n\f\r/>=]*+                     # the name of an attribute
                 (?: [ \t\n\f\r]*+ = [ \t\n\f\r]*+                     # and its value
                     (?: "[^"]*" | '[^']*' | (?!["'])[^ \t\n\f\r>]++ | (?=>) )
                   | (?! [ \t\n\f\r]*+ = ) ) )
         )*+ >""",
    re.VERBOSE,
)


def asked(request: Request, head: RequestHead) -> bool:
    """May the answer to this be a page for a person? Then it is asked for as plain text, uncompressed."""
    return request.navigation and head.method in {"GET", "POST"} and head.version == "1.1"


def wanted(answer: ResponseHead) -> bool:
    """Is this answer, to a request that `asked`, a whole page in HTML whose bytes can be read?"""
    if not (answer.status == 200 or answer.status >= 400 or 200 < answer.status < 300) or answer.status in _UNCHANGED:
        return False
    if answer.body == Length(0) or set(tokens(answer.fields, b"transfer-encoding")) - {b"chunked"}:
        return False
    if set(tokens(answer.fields, b"content-encoding")) - {b"identity"}:
        return False
    if any(value.lower().startswith(b"attachment") for value in values(answer.fields, b"content-disposition")):
        return False
    kinds = values(answer.fields, b"content-type")
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"text/html":
        return False
    charset = _CHARSET.search(kinds[0])
    return charset is None or _ASCII_BASED.fullmatch(charset[1]) is not None


def tag(fields: Fields) -> bytes:
    """The script's tag for an answer with these fields; it carries the nonce of the answer's own policy."""
    for name in (b"content-security-policy", b"content-security-policy-report-only"):
        for policy in values(fields, name):
            nonce = _nonce(policy)
            if nonce is not None:
                return b'<script src="%b" nonce="%b"></script>' % (SOURCE, nonce)
    return b'<script src="%b"></script>' % SOURCE


def changed(answer: ResponseHead, grown: int) -> ResponseHead:
    """The head for a body that has become `grown` bytes longer. Its `body` still says how the dev server sends it."""
    fields = []
    for name, value in answer.fields:
        key = name.lower()
        if key == b"content-length" and isinstance(answer.body, Length):
            fields.append((name, b"%d" % (answer.body.size + grown)))
        elif key not in _UNTRUE:
            fields.append((name, value))
    return replace(answer, fields=tuple(fields))


class Search:
    """Looks for the place in `content`, which grows between two calls of `go_on`."""

    def __init__(self) -> None:
        self.place: int | None = None
        self.over = False
        """Nothing that comes can change what was found, or that nothing was."""
        self._at = 0
        self._in_html = False

    def go_on(self, content: bytearray, *, whole: bool) -> None:
        """`whole`: there will not be more of it."""
        start = content[:PLACE_LIMIT] if len(content) > PLACE_LIMIT else content
        while not self.over and self._step(start):
            pass
        if whole or len(start) == PLACE_LIMIT:
            self.over = True

    def _step(self, start: bytearray) -> bool:
        """Pass over one thing, or end the search; False when it takes more bytes to tell."""
        if not self._at and start[:1] == _BOM[:1]:
            if start[:3] == _BOM:
                self._at = 3
                return True
            self.over = len(start) >= 3
            return False
        spaces = _SPACES.match(start, self._at)
        self._at = spaces.end() if spaces else self._at
        token = bytes(start[self._at : self._at + 4])
        if token[:1] not in {b"", b"<"}:
            self.over = True  # text: no page of ours to change
        elif token[:2] in {b"<!", b"<?"}:
            return self._pass_over_markup(start, token)
        elif len(token) > 1:
            return self._tag(start)
        return False

    def _pass_over_markup(self, start: bytearray, token: bytes) -> bool:
        if token != b"<!--" and b"<!--".startswith(token):
            return False
        if token == b"<!--":
            comment = _COMMENT.match(start, self._at)
            end = comment.end() if comment else 0
        else:
            end = start.find(b">", self._at) + 1
        self._at = end or self._at
        return bool(end)

    def _tag(self, start: bytearray) -> bool:
        if not start[self._at + 1 : self._at + 2].isalpha():
            self.over = True
            return False
        found = _TAG_NAME.match(start, self._at)
        if found is None:
            return False
        name = found[1].lower()
        if name != b"head" and (name != b"html" or self._in_html):
            self.place, self.over = self._at, True
            return True
        end = _TAG_END.match(start, found.end() - 1)
        if end is None:
            return False
        self._at = end.end()
        if name == b"head":
            self.place, self.over = self._at, True
        self._in_html = True
        return True


class Splice:
    """The first bytes of a body as they came, framing and all, until it is known where the tag goes.

    After a `feed` that returned True, `written` has them, with the tag where there is a place.
    """

    def __init__(self, body: Body) -> None:
        self._chunks = ChunkScanner() if isinstance(body, Chunked) else None
        self._raw = bytearray()
        self._content = self._raw if self._chunks is None else bytearray()
        self._starts: list[tuple[int, int]] = []
        """Of each chunk: where its data begins in the content, and where in the raw bytes."""
        self._search = Search()

    @property
    def found(self) -> bool:
        return self._search.place is not None

    def feed(self, data: bytes | bytearray, *, whole: bool) -> bool:
        """Take the next bytes of the body, which were found to be sound; True when they are enough."""
        if self._chunks is None:
            self._raw += data
        else:
            self._take_apart(self._chunks, data)
        self._search.go_on(self._content, whole=whole)
        return self._search.over or len(self._raw) > RAW_LIMIT

    def written(self, tag: bytes) -> bytes:
        at = self._search.place
        if at is None:
            return bytes(self._raw)
        if self._chunks is None:
            return bytes(self._raw[:at] + tag + self._raw[at:])
        return self._in_its_chunk(at, tag)

    def _take_apart(self, chunks: ChunkScanner, data: bytes | bytearray) -> None:
        at = 0
        while at < len(data) and not chunks.done:
            left = chunks.left
            end = min(at + left, len(data)) if left else data.find(b"\n", at) + 1 or len(data)
            piece = data[at:end]
            chunks.feed(piece)
            self._raw += piece
            if left:
                self._content += piece
            elif chunks.left:
                self._starts.append((len(self._content), len(self._raw)))
            at = end
        self._raw += data[at:]

    def _in_its_chunk(self, at: int, tag: bytes) -> bytes:
        """One chunk is made longer: the one that the place lies in or at the end of."""
        first, data = max(start for start in self._starts if start[0] < max(at, 1))
        line = self._raw.rfind(b"\n", 0, data - 1) + 1
        digits = re.match(rb"[0-9A-Fa-f]+", self._raw[line:data])
        size = digits[0] if digits else b"0"
        place = data + at - first
        grown = b"%x" % (int(size, 16) + len(tag))
        return bytes(self._raw[:line] + grown + self._raw[line + len(size) : place] + tag + self._raw[place:])


def _nonce(policy: bytes) -> bytes | None:
    rules: dict[bytes, bytes] = {}
    for part in policy.split(b";"):
        name, _, sources = part.strip().partition(b" ")
        rules.setdefault(name.lower(), sources)
    for name in _SCRIPT_RULES:
        if name in rules:
            found = _NONCE.search(rules[name])
            return found[1] if found else None
    return None
