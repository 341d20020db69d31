"""The body of a PUT: bytes → the files and deletions of one call, or a refusal that names what is wrong.

Pure. It is read entry by entry, with the standard library's parser: one call of a faster one over the whole body
would hold the interpreter's lock for as long as it takes (a fifth of a second for 64 MiB), and every held request
would wait for it. Entry by entry, another thread gets its turn in between.

What must not live here: what is stored; a clash with that is found by store.py.
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
class Call:
    files: list[Upsert] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def parse(body: bytes) -> Call:
    """`{"files": [{"filepath", "content", "encoding"?, "file_type"?}], "deleted": ["path", …]}`; either may be absent.

    Unknown keys are ignored. BadRequest names the entry and what it should have been; TooLarge, the limit.
    """
    call = Call()
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
            call.files.append(_file(value, f"files[{place}]"))
        else:
            call.deleted.append(_path(value, f"deleted[{place}]"))
    if not keys & {"files", "deleted"}:
        raise BadRequest("the body has neither files nor deleted")
    _refuse_disagreements(call)
    return call


def _walk(body: bytes) -> Iterator[tuple[str, int | None, Any]]:
    """(key, None, value) for each key of the object, and (key, place, element) for those of the two arrays, which
    themselves are shown as empty lists.
    """
    try:
        yield from _Text(body.decode()).pairs()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {shown(str(error)) or 'it is nested too deep'}") from None


class _Text:
    """A JSON object that is read one value at a time. Raises ValueError where the text is none."""

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
            self._take(":")
            if key in {"files", "deleted"} and self._next() == "[":
                yield key, None, []
                for place, _ in enumerate(self._items("[", "]")):
                    yield key, place, self._value()
            else:
                yield key, None, self._value()
        if self._next():
            raise self._wrong("the body goes on after its end")

    def _items(self, first: str, last: str) -> Iterator[None]:
        self._take(first)
        if self._next() == last:
            self._at += 1
            return
        while True:
            yield
            if self._next() == last:
                self._at += 1
                return
            self._take(",")

    def _value(self) -> Any:
        self._next()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def _next(self) -> str:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> None:
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
        raise TooLarge(f"{where} has {len(data):,} bytes; at most {MAX_FILE_BYTES:,} are taken")
    return upsert(path, data, kind)


def _bytes(content: str, encoding: Any, where: str) -> bytes:
    try:
        if encoding is None or encoding == "utf-8":
            return content.encode()
        if encoding == "base64":
            return base64.b64decode(content, validate=True)
    except UnicodeEncodeError:
        raise BadRequest(f"{where} has a content with half a surrogate pair, which is no character") from None
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} has a content that is not base64") from None
    raise BadRequest(f"{where} has an encoding that is neither absent, 'utf-8' nor 'base64'")


def _path(path: Any, where: str) -> str:
    if not isinstance(path, str):
        raise BadRequest(f"{where} is {_kind(path)}, not text")
    if why := refusal(path):
        raise BadRequest(f"{where} ({shown(path)!r}) {why}")
    return path


def _refuse_disagreements(call: Call) -> None:
    paths: set[str] = set()
    for place, file in enumerate(call.files):
        if file.path in paths:
            raise BadRequest(f"files[{place}] ({shown(file.path)!r}) is there twice")
        paths.add(file.path)
    for place, path in enumerate(call.deleted):
        if path in paths:
            raise BadRequest(f"deleted[{place}] ({shown(path)!r}) is in files too")
    if clashing := sorted(overlapping(paths)):
        folder, inside = clashing[0], next(path for path in clashing if path.startswith(clashing[0] + "/"))
        raise BadRequest(f"{shown(folder)!r} cannot be a file: it is the folder of {shown(inside)!r}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


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
