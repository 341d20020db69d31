"""Files ⇄ the forms of the wire (contract, sections 2 and 3): which file goes out inline, an entry's JSON, and the two
forms of an answer, as chunks that are made while they are sent.

Pure. What must not live here: headers, and where the rows come from.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from agent.paths import MAX_ANSWER_BYTES
from control.errors import NotAcceptable

INLINE_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upsert:
    """A file as it shall be. `file_type` None: keep the stored one, or go by the name."""

    path: str
    data: bytes
    sha256: str
    file_type: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A file as it is stored. `text` is None where the bytes go out as a blob."""

    path: str
    text: str | None
    sha256: str
    size: int
    file_type: str | None
    created_at: str
    updated_at: str
    revision: int


def upsert(path: str, data: bytes, file_type: str | None = None) -> Upsert:
    return Upsert(path, data, hashlib.sha256(data).hexdigest(), file_type)


def is_inline(data: bytes) -> bool:
    """Whether a file goes out as text: it is UTF-8 and at most 64 KiB."""
    if len(data) > INLINE_BYTES:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def type_of(path: str) -> str | None:
    """A file's type where nobody said one: what follows the last dot of its name, in lower case."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot and suffix else None


def entry(row: Row) -> bytes:
    """One file as JSON, with every column; without `content` where the bytes are at `…/files/blobs/{content_hash}`."""
    fields: dict[str, object] = {"filepath": row.path}
    if row.text is not None:
        fields["content"] = row.text
    fields |= {
        "content_hash": row.sha256,
        "size": row.size,
        "file_type": row.file_type,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "revision": row.revision,
    }
    return orjson.dumps(fields)


def as_lines(rows: Iterable[Row], deleted: Iterable[str]) -> Iterator[bytes]:
    """NDJSON: an entry a line, then the deletions, then the end with their count (contract, "Streaming")."""
    count = 0
    for row in rows:
        count += 1
        yield entry(row)
        yield b"\n"
    for path in deleted:
        count += 1
        yield orjson.dumps({"filepath": path, "deleted": True}, option=orjson.OPT_APPEND_NEWLINE)
    yield orjson.dumps({"end": True, "count": count}, option=orjson.OPT_APPEND_NEWLINE)


def as_object(rows: Iterable[Row], deleted: Iterable[str] | None) -> Iterator[bytes]:
    """One JSON object; `deleted` None leaves that key out. Over the contract's 64 MiB it raises NotAcceptable."""
    before = b'{"success":true,"files":['
    empty, total = before, 0
    for row in rows:
        piece = entry(row)
        total += len(piece) + 1
        if total > MAX_ANSWER_BYTES:
            raise NotAcceptable(
                f"this answer is over {MAX_ANSWER_BYTES:,} bytes as one JSON object: "
                "ask for it as a stream, with Accept: application/x-ndjson"
            )
        yield before
        yield piece
        before, empty = b",", b""
    yield empty
    yield b"]}" if deleted is None else b'],"deleted":' + orjson.dumps(list(deleted)) + b"}"


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of about CHUNK_BYTES: what is worth a turn in another thread and a write."""
    chunk: list[bytes] = []
    held = 0
    for piece in pieces:
        chunk.append(piece)
        held += len(piece)
        if held >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk.clear()
            held = 0
    yield b"".join(chunk)


def gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """`chunks` as one gzip stream, at the level that costs least time."""
    press = zlib.compressobj(level=1, wbits=31)
    for chunk in chunks:
        yield press.compress(chunk)
    yield press.flush()
