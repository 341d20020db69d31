"""Bytes ⇄ entries: what an answer of the files API says (contract, sections 2 and 3).

Pure. An answer that is not of the contract's form raises BadAnswer, which names the entry and the field, and then
nothing of it is applied. A path that may not be written is no fault of the form: it comes through, and the plan
refuses it alone. Nothing here knows what is on the disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from agent.errors import BackendError, BadAnswer
from agent.paths import shown


@dataclass(frozen=True, slots=True)
class Inline:
    """A file with its bytes. `sha256` is the hash of `data`, checked against the backend's where it gave one."""

    path: str
    data: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A file whose bytes are fetched apart, by their hash."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Deletion:
    path: str


Item = Inline | Blob | Deletion


@dataclass(frozen=True, slots=True)
class End:
    """The last line of a stream: how many lines came before it."""

    count: int


def parse_json(body: bytes, *, delta: bool) -> Iterator[Item]:
    """Yield what one JSON answer holds; `delta` says that it is a 226, which may name deletions.

    The form of the whole is checked before the first item; an item's own form when it is reached.
    """
    answer = _loads(body)
    if not isinstance(answer, dict):
        raise BadAnswer(f"the answer is {_kind(answer)}, not a JSON object")
    if answer.get("success") is False:
        raise BackendError(
            f"the backend says: {shown(str(answer.get('error') or 'success is false, without a reason'))}"
        )
    if answer.get("success") is not True:
        raise BadAnswer(f"the answer's success is {_kind(answer.get('success'))}, not true")
    files = answer.get("files")
    deleted = answer.get("deleted", []) if delta else []
    if not isinstance(files, list):
        raise BadAnswer(f"the answer's files is {_kind(files)}, not an array")
    if not isinstance(deleted, list):
        raise BadAnswer(f"the answer's deleted is {_kind(deleted)}, not an array")
    for place, entry in enumerate(files):
        yield _entry(entry, f"files[{place}]")
    for place, path in enumerate(deleted):
        if not isinstance(path, str):
            raise BadAnswer(f"deleted[{place}] is {_kind(path)}, not a path")
        yield Deletion(path)


def parse_line(line: bytes, place: int, *, delta: bool) -> Item | End:
    """One line of a stream (NDJSON). `place` counts from 0 and only serves the message."""
    where = f"line {place + 1}"
    entry = _loads(line)
    if isinstance(entry, dict) and "end" in entry:
        count = _count(entry.get("count"))
        if entry["end"] is not True or count is None:
            raise BadAnswer(f"{where} is an end without a true end and a count")
        return End(count)
    if isinstance(entry, dict) and "deleted" in entry and "content" not in entry:
        if entry["deleted"] is True and isinstance(entry.get("filepath"), str):
            if not delta:
                raise BadAnswer(f"{where} is a deletion, in an answer that is the whole set")
            return Deletion(entry["filepath"])
        if entry["deleted"] is not False:
            raise BadAnswer(f"{where} is a deletion whose form is wrong")
    return _entry(entry, where)


def _entry(entry: Any, where: str) -> Inline | Blob:
    if not isinstance(entry, dict):
        raise BadAnswer(f"{where} is {_kind(entry)}, not an object")
    path = entry.get("filepath")
    if not isinstance(path, str):
        raise BadAnswer(f"{where} has a filepath that is {_kind(path)}, not text")
    where = f"{where} ({shown(path)})"
    claimed = _hash(entry.get("content_hash"), where)
    content = entry.get("content")
    if content is None:
        size = _count(entry.get("size"))
        if claimed is None or size is None:
            raise BadAnswer(f"{where} has no content, and no content_hash and size in its place")
        return Blob(path, claimed, size)
    if not isinstance(content, str):
        raise BadAnswer(f"{where} has a content that is {_kind(content)}, not text")
    data = _decode(content, entry.get("encoding"), where)
    actual = hashlib.sha256(data).hexdigest()
    if claimed not in {None, actual}:
        raise BadAnswer(f"{where} has bytes whose hash is not its content_hash")
    return Inline(path, data, actual)


def _decode(content: str, encoding: Any, where: str) -> bytes:
    try:
        if encoding in {None, "utf-8"}:
            return content.encode()
        if encoding == "base64":
            return base64.b64decode(content, validate=True)
    except UnicodeEncodeError:
        raise BadAnswer(f"{where} has a content that is not valid Unicode") from None
    except (binascii.Error, ValueError):
        raise BadAnswer(f"{where} has a content that is not base64") from None
    except TypeError:  # an encoding that cannot even be looked up: an array, an object
        pass
    raise BadAnswer(f"{where} has an encoding that is neither absent nor base64")


def _hash(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) == 64:
        lowered = value.lower()
        if not lowered.strip("0123456789abcdef"):
            return lowered
    raise BadAnswer(f"{where} has a content_hash that is neither null nor a sha256 in hex")


def _loads(text: bytes) -> Any:
    """orjson, and where it says no the slower parser: that one lets half a surrogate pair through, which JSON can spell
    and UTF-8 cannot, so that one unwritable path does not cost the whole set (contract, section 5).
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.decode("utf-8", "surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        start = shown(text[:60].decode("utf-8", "replace"))
        raise BadAnswer(f"the answer is not JSON or was cut off; it begins with {start!r}") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "nothing" if value is None else names.get(type(value), "something else")
