"""Where a text stops being JSON, or JSON with comments: line, column, the line itself and the reason. Pure.

orjson reads what is right. What is wrong is read a second time here, because what people and programs get wrong most
(a comma before a closing bracket, a missing comma, a conflict marker of git, a quote of the wrong kind) deserves its
own words, and since tsconfig.json may have comments and trailing commas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

LINE_CHARACTERS: Final = 160
_DEEPEST: Final = 250
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SPACE_AND_COMMENTS: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SCALAR: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)\b")
_CONFLICT: Final = re.compile(r"^(?:<{7}|={7}|>{7})(?: .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Line and column count from 1. `text`: that line, shortened around the place where it is long."""

    message: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.message} in line {self.line}" + (f":\n{self.text}" if self.text.strip() else "")


class _Wrong(Exception):
    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def fault(data: bytes, *, comments: bool = False) -> Fault | None:
    """The first thing wrong; None where nothing is. `comments`: these and trailing commas are allowed."""
    try:
        orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return _first(data, comments=comments)
    return None


def _first(data: bytes, *, comments: bool) -> Fault | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _fault("it is not UTF-8", data[: error.start].decode("utf-8", "replace"), error.start)
    if found := _CONFLICT.search(text):
        return _fault("a merge conflict is not resolved", text, found.start())
    try:
        _Reader(text, comments=comments).read()
    except _Wrong as wrong:
        return _fault(str(wrong), text, wrong.at)
    return None


def conflict(data: bytes) -> Fault | None:
    """A conflict marker that git left in any kind of text."""
    text = data.decode("utf-8", "replace")
    found = re.search(r"^<{7}(?: .*)?$", text, re.MULTILINE)
    return _fault("a merge conflict is not resolved", text, found.start()) if found else None


def line_of(data: bytes, line: int) -> str:
    """One line of a text, for a message."""
    lines = data.decode("utf-8", "replace").splitlines()
    return lines[line - 1][:LINE_CHARACTERS] if 0 < line <= len(lines) else ""


def _fault(message: str, text: str, at: int) -> Fault:
    at = min(at, len(text))
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[start : end if end >= 0 else len(text)].rstrip("\r")
    if len(line) > LINE_CHARACTERS:
        begin = max(0, at - start - LINE_CHARACTERS // 2)
        line = f"…{line[begin : begin + LINE_CHARACTERS]}…"
    return Fault(message, text.count("\n", 0, at) + 1, at - start + 1, line)


class _Reader:
    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._comments = comments
        self._at = 0

    def read(self) -> None:
        self._skip()
        if self._at == len(self._text):
            raise _Wrong("it is empty", 0)
        self._value(0)
        if self._at < len(self._text):
            raise _Wrong("there is something after the end of the value", self._at)

    def _skip(self) -> None:
        found = (_SPACE_AND_COMMENTS if self._comments else _SPACE).match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise _Wrong(f"it is nested too deeply (over {_DEEPEST} levels)", self._at)
        match self._peek():
            case "{":
                self._container("}", "object", depth)
            case "[":
                self._container("]", "list", depth)
            case '"':
                self._string()
            case _:
                self._scalar()
        self._skip()

    def _container(self, close: str, kind: str, depth: int) -> None:
        opened = self._at
        self._at += 1
        self._skip()
        comma: int | None = None
        while self._peek() != close:
            if not self._peek():
                raise _Wrong(f"the {kind} that begins here is not closed", opened)
            if kind == "object":
                self._key()
            self._value(depth + 1)
            comma = None
            if self._peek() == ",":
                comma = self._at
                self._at += 1
                self._skip()
            elif self._peek() and self._peek() != close:
                raise _Wrong("a comma is missing before this", self._at)
        if comma is not None and not self._comments:
            raise _Wrong(f"there is a comma before the closing {close!r}", comma)
        self._at += 1

    def _key(self) -> None:
        if self._peek() != '"':
            raise _Wrong("a name in double quotes is expected", self._at)
        self._string()
        self._skip()
        if self._peek() != ":":
            raise _Wrong("a colon is missing after the name", self._at)
        self._at += 1
        self._skip()

    def _string(self) -> None:
        found = _STRING.match(self._text, self._at)
        if found is None:
            raise _Wrong("the string that begins here is not closed, or has a character that it may not have", self._at)
        self._at = found.end()

    def _scalar(self) -> None:
        found = _SCALAR.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            return
        if not self._comments and self._text.startswith(("//", "/*"), self._at):
            raise _Wrong("comments are not allowed", self._at)
        if self._peek() == "'":
            raise _Wrong("strings take double quotes", self._at)
        raise _Wrong("a value is expected" if self._peek() in ",:}]" else "this is no value", self._at)
