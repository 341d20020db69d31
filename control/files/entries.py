"""Serializes files as entries and whole answers, JSON or NDJSON (contract, sections 2 and 3).

Answers are generated chunk by chunk while they are sent. Pure. What must not live here: headers, queries.
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
    """A file to be stored."""

    path: str
    data: bytes
    sha256: str
    file_type: str | None = None
    """None keeps the stored type, or derives it from the name."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file."""

    path: str
    text: str | None
    """None if the bytes are served as a blob."""
    sha256: str
    size: int
    file_type: str | None
    created_at: str
    updated_at: str
    revision: int


def upsert(path: str, data: bytes, file_type: str | None = None) -> Upsert:
    return Upsert(path, data, hashlib.sha256(data).hexdigest(), file_type)


def is_inline(data: bytes) -> bool:
    """True if the file is sent inside its entry: UTF-8 text of at most 64 KiB."""
    if len(data) > INLINE_BYTES:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def type_of(path: str) -> str | None:
    """Return the default type of a file: its suffix in lower case, without the dot."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot and suffix else None


def entry(row: StoredFile) -> bytes:
    """Return one file as JSON. `content` is absent if the bytes are served as a blob."""
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


def as_lines(rows: Iterable[StoredFile], deleted: Iterable[str]) -> Iterator[bytes]:
    """Generate NDJSON: one entry per line, then the deletions, then the end line with their number."""
    count = 0
    for row in rows:
        count += 1
        yield entry(row)
        yield b"\n"
    for path in deleted:
        count += 1
        yield orjson.dumps({"filepath": path, "deleted": True}, option=orjson.OPT_APPEND_NEWLINE)
    yield orjson.dumps({"end": True, "count": count}, option=orjson.OPT_APPEND_NEWLINE)


def as_object(rows: Iterable[StoredFile], deleted: Iterable[str] | None) -> Iterator[bytes]:
    """Generate one JSON object. `deleted` None omits that key. Raise NotAcceptable above the contract's 64 MiB."""
    before = b'{"success":true,"files":['
    empty, total = before, 0
    for row in rows:
        piece = entry(row)
        total += len(piece) + 1
        if total > MAX_ANSWER_BYTES:
            raise NotAcceptable(
                f"this answer has more than {MAX_ANSWER_BYTES:,} bytes as one JSON object: "
                "request NDJSON with Accept: application/x-ndjson"
            )
        yield before
        yield piece
        before, empty = b",", b""
    yield empty
    yield b"]}" if deleted is None else b'],"deleted":' + orjson.dumps(list(deleted)) + b"}"


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces into chunks of about CHUNK_BYTES, so that each thread switch and write moves enough bytes."""
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
    """Compress `chunks` as one gzip stream, at the fastest level."""
    press = zlib.compressobj(level=1, wbits=31)
    for chunk in chunks:
        yield press.compress(chunk)
    yield press.flush()
