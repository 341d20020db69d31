"""Parses the body of a files answer into entries (contract, sections 2 and 3).

Pure. An answer that violates the contract's format raises BadAnswer, which names the entry and the field, and none of
it is applied. A forbidden path is not a format error: it is returned, and answer_set.py refuses that entry alone.
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
    """A file with its bytes."""

    path: str
    data: bytes
    sha256: str
    """The hash of `data`, checked against content_hash where the backend sent one."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file whose bytes are fetched in a request of their own, by hash."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Deletion:
    path: str


Item = Inline | Blob | Deletion


@dataclass(frozen=True, slots=True)
class End:
    """The last line of an NDJSON body."""

    count: int
    """The number of lines before it."""


def parse_json(body: bytes, *, delta: bool) -> Iterator[Item]:
    """Yield the items of a JSON answer. `delta`: it is a 226, which may contain deletions.

    The top-level format is checked before the first item, each item's format when it is reached.
    """
    payload = _loads(body)
    if not isinstance(payload, dict):
        raise BadAnswer(f"the answer is {_json_type(payload)}, not a JSON object")
    if payload.get("success") is False:
        reason = shown(str(payload.get("error") or "success is false, without a reason"))
        raise BackendError(f"the backend reports an error: {reason}")
    if payload.get("success") is not True:
        raise BadAnswer(f"the answer's success is {_json_type(payload.get('success'))}, not true")
    files = payload.get("files")
    deleted = payload.get("deleted", []) if delta else []
    if not isinstance(files, list):
        raise BadAnswer(f"the answer's files is {_json_type(files)}, not an array")
    if not isinstance(deleted, list):
        raise BadAnswer(f"the answer's deleted is {_json_type(deleted)}, not an array")
    for index, entry in enumerate(files):
        yield _entry(entry, f"files[{index}]")
    for index, path in enumerate(deleted):
        if not isinstance(path, str):
            raise BadAnswer(f"deleted[{index}] is {_json_type(path)}, not a path")
        yield Deletion(path)


def parse_line(line: bytes, index: int, *, delta: bool) -> Item | End:
    """Parse one line of an NDJSON body. `index` counts from 0 and is used in messages only."""
    where = f"line {index + 1}"
    entry = _loads(line)
    if isinstance(entry, dict) and "end" in entry:
        count = _count(entry.get("count"))
        if entry["end"] is not True or count is None:
            raise BadAnswer(f"{where} is an end line without a true end and a count")
        return End(count)
    if isinstance(entry, dict) and "deleted" in entry and "content" not in entry:
        if entry["deleted"] is True and isinstance(entry.get("filepath"), str):
            if not delta:
                raise BadAnswer(f"{where} is a deletion, in an answer that is the whole set")
            return Deletion(entry["filepath"])
        if entry["deleted"] is not False:
            raise BadAnswer(f"{where} is a malformed deletion")
    return _entry(entry, where)


def _entry(entry: Any, where: str) -> Inline | Blob:
    if not isinstance(entry, dict):
        raise BadAnswer(f"{where} is {_json_type(entry)}, not an object")
    path = entry.get("filepath")
    if not isinstance(path, str):
        raise BadAnswer(f"{where} has a filepath that is {_json_type(path)}, not text")
    where = f"{where} ({shown(path)})"
    claimed = _hash(entry.get("content_hash"), where)
    content = entry.get("content")
    if content is None:
        size = _count(entry.get("size"))
        if claimed is None or size is None:
            raise BadAnswer(f"{where} has neither content nor content_hash with size")
        return Blob(path, claimed, size)
    if not isinstance(content, str):
        raise BadAnswer(f"{where} has a content that is {_json_type(content)}, not text")
    data = _decode(content, entry.get("encoding"), where)
    actual = hashlib.sha256(data).hexdigest()
    if claimed not in {None, actual}:
        raise BadAnswer(f"{where} has content that does not match its content_hash")
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
    except TypeError:  # an array or an object is not hashable
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
    """Parse with orjson, and if that fails with the slower json module. json accepts a lone surrogate, which is valid
    JSON but cannot be encoded as UTF-8, so that one such path does not fail the whole set (contract, section 5).
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.decode("utf-8", "surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        start = shown(text[:60].decode("utf-8", "replace"))
        raise BadAnswer(f"the answer is not JSON or is incomplete; it begins with {start!r}") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _json_type(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "nothing" if value is None else names.get(type(value), "something else")
