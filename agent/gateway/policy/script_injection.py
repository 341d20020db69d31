"""Which responses get the gateway's script, and where in their bytes its tag is inserted. Pure.

The tag stands where the HTML parser begins the content of the head: right behind `<head …>`, or, in a page without that
tag, before the first tag that makes the parser imply one. What the parser skips before it (a byte order mark, spaces,
comments, the doctype, `<html …>`) is skipped by the parser's own rules (HTML, 13.2.5). A page that begins with text, or
has no place for the tag in its first 16 KiB, is forwarded unchanged.

Invariants: the place does not depend on how the bytes arrive in pieces. Without the tag the body is the original, byte
for byte; of a chunked body, one chunk becomes longer and all others stay as they are.

What must not live here: waiting for the bytes (http/proxy.py), and what the script does (pages/assets/shim.js).
"""

from __future__ import annotations

import re
from dataclasses import replace

from agent.gateway.http.bodies import ChunkScanner
from agent.gateway.http.heads import Body, Chunked, Fields, Length, RequestHead, ResponseHead, tokens, values
from agent.gateway.policy.request import Request

SCRIPT_PATH = b"/__preview/shim.js"
SEARCH_LIMIT = 16 * 1024
"""The tag's place has to be within this many bytes of content."""
RAW_LIMIT = 8 * SEARCH_LIMIT
"""The same including the framing of chunks of one byte each, which take six."""

_UNCHANGED = frozenset({204, 205, 206})
# These fields describe the unchanged bytes, or offer parts of them.
_VALIDATORS = frozenset(
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


def may_inject(request: Request, head: RequestHead) -> bool:
    """Whether the response may be a page that a person sees. It is then requested without compression."""
    return request.navigation and head.method in {"GET", "POST"} and head.version == "1.1"


def is_injectable(response: ResponseHead) -> bool:
    """Whether this response, to a request that `may_inject`, is a complete HTML page in an ASCII-compatible charset."""
    status = response.status
    if not (200 <= status < 300 or status >= 400) or status in _UNCHANGED:
        return False
    if response.body == Length(0) or set(tokens(response.fields, b"transfer-encoding")) - {b"chunked"}:
        return False
    if set(tokens(response.fields, b"content-encoding")) - {b"identity"}:
        return False
    if any(value.lower().startswith(b"attachment") for value in values(response.fields, b"content-disposition")):
        return False
    kinds = values(response.fields, b"content-type")
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"text/html":
        return False
    charset = _CHARSET.search(kinds[0])
    return charset is None or _ASCII_BASED.fullmatch(charset[1]) is not None


def script_tag(fields: Fields) -> bytes:
    """The script tag for a response with these fields. It has the nonce of the response's Content-Security-Policy."""
    for name in (b"content-security-policy", b"content-security-policy-report-only"):
        for policy in values(fields, name):
            nonce = _nonce(policy)
            if nonce is not None:
                return b'<script src="%b" nonce="%b"></script>' % (SCRIPT_PATH, nonce)
    return b'<script src="%b"></script>' % SCRIPT_PATH


def with_longer_body(response: ResponseHead, added: int) -> ResponseHead:
    """The head for a body that is `added` bytes longer. Its `body` still describes what the dev server sends."""
    fields = []
    for name, value in response.fields:
        key = name.lower()
        if key == b"content-length" and isinstance(response.body, Length):
            fields.append((name, b"%d" % (response.body.size + added)))
        elif key not in _VALIDATORS:
            fields.append((name, value))
    return replace(response, fields=tuple(fields))


class PlaceSearch:
    """Searches the tag's place in `content`, which grows between two calls of `go_on`."""

    def __init__(self) -> None:
        self.place: int | None = None
        self.over = False
        """The result is final: more bytes cannot change it."""
        self._at = 0
        self._in_html = False

    def go_on(self, content: bytearray, *, whole: bool) -> None:
        """Continue the search. `whole`: the content is complete."""
        start = content[:SEARCH_LIMIT] if len(content) > SEARCH_LIMIT else content
        while not self.over and self._step(start):
            pass
        if whole or len(start) == SEARCH_LIMIT:
            self.over = True

    def _step(self, start: bytearray) -> bool:
        """Skip one token, or end the search. False when it needs more bytes."""
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
            self.over = True  # text before any tag: no place for the tag
        elif token[:2] in {b"<!", b"<?"}:
            return self._skip_markup(start, token)
        elif len(token) > 1:
            return self._read_tag(start)
        return False

    def _skip_markup(self, start: bytearray, token: bytes) -> bool:
        if token != b"<!--" and b"<!--".startswith(token):
            return False
        if token == b"<!--":
            comment = _COMMENT.match(start, self._at)
            end = comment.end() if comment else 0
        else:
            end = start.find(b">", self._at) + 1
        self._at = end or self._at
        return bool(end)

    def _read_tag(self, start: bytearray) -> bool:
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


class TagInserter:
    """Buffers the first bytes of a body, framing included, until the tag's place is known.

    Once `feed` has returned True, `result` returns them, with the tag if there is a place for it.
    """

    def __init__(self, body: Body) -> None:
        self._chunks = ChunkScanner() if isinstance(body, Chunked) else None
        self._raw = bytearray()
        self._content = self._raw if self._chunks is None else bytearray()
        self._starts: list[tuple[int, int]] = []
        """For each chunk, where its data begins in the content and in the raw bytes."""
        self._search = PlaceSearch()

    @property
    def found(self) -> bool:
        return self._search.place is not None

    def feed(self, data: bytes | bytearray, *, whole: bool) -> bool:
        """Add the next bytes of the body, which are valid; True when no more are needed."""
        if self._chunks is None:
            self._raw += data
        else:
            self._dechunk(self._chunks, data)
        self._search.go_on(self._content, whole=whole)
        return self._search.over or len(self._raw) > RAW_LIMIT

    def result(self, tag: bytes) -> bytes:
        at = self._search.place
        if at is None:
            return bytes(self._raw)
        if self._chunks is None:
            return bytes(self._raw[:at] + tag + self._raw[at:])
        return self._insert_in_chunk(at, tag)

    def _dechunk(self, chunks: ChunkScanner, data: bytes | bytearray) -> None:
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

    def _insert_in_chunk(self, at: int, tag: bytes) -> bytes:
        """Lengthen one chunk: the one that contains the place or ends at it."""
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
