"""Parses the body of a PUT into files and deletions, or raises an error that names the faulty entry.

Pure. The standard library's JSON decoder parses it entry by entry. One call of a faster parser for the whole body
would hold the interpreter lock for 0.2 s (64 MiB), and all held requests with it; between two entries other threads
can run.

What must not live here: comparing with the stored set (store.py).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import JSONDecoder
from typing import Any

from agent.paths import MAX_FILE_BYTES, MAX_FILES, overlapping, refusal, shown
from control.errors import BadRequest, TooLarge
from control.files.entries import Upsert, upsert

_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(slots=True)
class PutRequest:
    files: list[Upsert] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def parse(body: bytes) -> PutRequest:
    """Parse `{"files": [{"filepath", "content", "encoding"?, "file_type"?}], "deleted": ["path", …]}`.

    Either key may be absent, and unknown keys are ignored. BadRequest names the entry and what was expected; TooLarge
    names the limit.
    """
    request = PutRequest()
    keys: set[str] = set()
    for key, place, value in _walk(body):
        if place is None:
            if key in keys:
                raise BadRequest(f"{shown(key)!r} is in the body twice")
            keys.add(key)
            if key in {"files", "deleted"} and not isinstance(value, list):
                raise BadRequest(f"{key} is {_kind(value)}, not an array")
        elif key == "files":
            if place >= MAX_FILES:
                raise TooLarge(f"files has more than {MAX_FILES:,} entries")
            request.files.append(_file(value, f"files[{place}]"))
        else:
            request.deleted.append(_path(value, f"deleted[{place}]"))
    if not keys & {"files", "deleted"}:
        raise BadRequest("the body has neither files nor deleted")
    _refuse_contradictions(request)
    return request


def _walk(body: bytes) -> Iterator[tuple[str, int | None, Any]]:
    """Yield (key, None, value) for each key, and (key, place, element) for each element of the two arrays.

    The value of the arrays themselves is an empty list.
    """
    try:
        yield from _Text(body.decode()).pairs()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {shown(str(error)) or 'it is nested too deep'}") from None


class _Text:
    """Reads a JSON object one value at a time. Raises ValueError if the text is not JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decoder = JSONDecoder(parse_constant=_no_constant)

    def pairs(self) -> Iterator[tuple[str, int | None, Any]]:
        if self._next() != "{":
            raise BadRequest(f"the body is {_kind(self._value())}, not a JSON object")
        for _ in self._items("{", "}"):
            key = self._value()
            if not isinstance(key, str):
                raise self._wrong("a key in quotes was expected")
            self._expect(":")
            if key in {"files", "deleted"} and self._next() == "[":
                yield key, None, []
                for place, _ in enumerate(self._items("[", "]")):
                    yield key, place, self._value()
            else:
                yield key, None, self._value()
        if self._next():
            raise self._wrong("the body continues after the end of the object")

    def _items(self, first: str, last: str) -> Iterator[None]:
        self._expect(first)
        if self._next() == last:
            self._at += 1
            return
        while True:
            yield
            if self._next() == last:
                self._at += 1
                return
            self._expect(",")

    def _value(self) -> Any:
        self._next()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def _next(self) -> str:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise self._wrong(f"{character!r} was expected")
        self._at += 1

    def _wrong(self, what: str) -> ValueError:
        return json.JSONDecodeError(what, self._text, self._at)


def _file(entry: Any, where: str) -> Upsert:
    if not isinstance(entry, dict):
        raise BadRequest(f"{where} is {_kind(entry)}, not an object")
    path = _path(entry.get("filepath"), where + ".filepath")
    where = f"{where} ({shown(path)!r})"
    kind = entry.get("file_type")
    if not (kind is None or (isinstance(kind, str) and kind.isprintable() and len(kind) <= 64)):
        raise BadRequest(f"{where} has a file_type that is not text of at most 64 characters")
    content = entry.get("content")
    if not isinstance(content, str):
        raise BadRequest(f"{where} has a content that is {_kind(content)}, not text")
    data = _bytes(content, entry.get("encoding"), where)
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"{where} has {len(data):,} bytes; at most {MAX_FILE_BYTES:,} are accepted")
    return upsert(path, data, kind)


def _bytes(content: str, encoding: Any, where: str) -> bytes:
    try:
        if encoding is None or encoding == "utf-8":
            return content.encode()
        if encoding == "base64":
            return base64.b64decode(content, validate=True)
    except UnicodeEncodeError:
        raise BadRequest(f"{where} has a content with an unpaired surrogate, which is not a character") from None
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} has a content that is not base64") from None
    raise BadRequest(f"{where} has an encoding that is neither absent, 'utf-8' nor 'base64'")


def _path(path: Any, where: str) -> str:
    if not isinstance(path, str):
        raise BadRequest(f"{where} is {_kind(path)}, not text")
    if why := refusal(path):
        raise BadRequest(f"{where} ({shown(path)!r}) {why}")
    return path


def _refuse_contradictions(request: PutRequest) -> None:
    paths: set[str] = set()
    for place, file in enumerate(request.files):
        if file.path in paths:
            raise BadRequest(f"files[{place}] ({shown(file.path)!r}) is a duplicate")
        paths.add(file.path)
    for place, path in enumerate(request.deleted):
        if path in paths:
            raise BadRequest(f"deleted[{place}] ({shown(path)!r}) is also in files")
    if clashing := sorted(overlapping(paths)):
        folder, inside = clashing[0], next(path for path in clashing if path.startswith(clashing[0] + "/"))
        raise BadRequest(f"{shown(folder)!r} cannot be a file: it is the folder of {shown(inside)!r}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


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
