"""Finds the first error of a JSON file: its file, line, column, the line itself, and a plain message. Pure.

The parsers that decide whether a file is valid (orjson here, JSON.parse in npm) name an error in their own terms, or
cut it off. `describe` runs after one of them refused a file, and scans it again to name what was found and what JSON
takes in its place. With `jsonc` it takes what TypeScript takes in tsconfig.json: comments and a trailing comma.

Invariants: it returns None for every valid file, it never raises, and it does not recurse, because a file may be nested
deeper than Python's stack.

What must not live here: what the values mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import orjson

LINE_CHARACTERS = 160
FOUND_CHARACTERS = 40

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = re.compile(r"[ \t\r\n]*")
_BLANK_OR_COMMENT = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.+-])")
_LITERAL = re.compile(r"(?:true|false|null)(?!\w)")
_WORD = re.compile(r"[\w.$+@/-]+")
_CONFLICT = re.compile(r"(?m)^(?:<{7}|={7}|>{7})(?= |\r?$)")

_ESCAPES = r"\" \\ \/ \b \f \n \r \t and \u with 4 digits"
_CLOSING = {"{": "}", "[": "]"}
_OPENING = {"}": "object", "]": "list"}


@dataclass(frozen=True, slots=True)
class JsonError:
    """`found`: the error alone. `line` and `column` count from 1, columns in characters. `line_text`: the line of the
    error; of an endless line, the part around the column. `pointer`: as `line_text`, blank up to a caret at the column.
    """

    name: str
    line: int
    column: int
    found: str
    line_text: str
    pointer: str

    @property
    def message(self) -> str:
        return f"{self.name} line {self.line}, column {self.column}: {self.found}"

    @property
    def report(self) -> str:
        """The message, the line itself, and a mark below it: three lines."""
        return "\n".join([self.message, self.line_text, self.pointer] if self.line_text.strip() else [self.message])


def describe(name: str, data: bytes, *, jsonc: bool = False) -> JsonError | None:
    """The first error of `data`, the content of the file `name`; None if it is valid."""
    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", "replace")
        at = len(data[: error.start].decode())
        return _error(name, text, at, f"the byte 0x{data[error.start]:02x} (the file has to be UTF-8)")
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        unresolved = conflict(name, data)
        if unresolved is not None:
            return unresolved
        try:
            _Scan(text, jsonc=jsonc).run()
        except _Found as found_at:
            return _error(name, text, found_at.at, found_at.found)
    return None


def conflict(name: str, data: bytes) -> JsonError | None:
    """The first mark that git leaves for a merge conflict, in a text of any kind; None without one."""
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace")
    found = _CONFLICT.search(text)
    if found is None:
        return None
    message = f'"{found[0]}", the mark of a merge conflict (keep one of the two sides and delete the marks)'
    return _error(name, text, found.start(), message)


def _error(name: str, text: str, at: int, found: str) -> JsonError:
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].partition("\n")[0].rstrip("\r")
    column = at - start
    shown, before = line, column
    if len(line) > LINE_CHARACTERS:
        left = max(0, min(column - LINE_CHARACTERS // 2, len(line) - LINE_CHARACTERS))
        right = left + LINE_CHARACTERS
        shown = f"{'…' if left else ''}{line[left:right]}{'…' if right < len(line) else ''}"
        before = column - left + (1 if left else 0)
    blank = "".join("\t" if character == "\t" else " " for character in shown[:before])
    return JsonError(name, text.count("\n", 0, start) + 1, column + 1, found, shown, f"{blank}^")


class _Found(Exception):
    def __init__(self, at: int, found: str) -> None:
        super().__init__(found)
        self.at = at
        self.found = found


@dataclass(slots=True)
class _Scan:
    """`at`: the next character to read. `open`: the brackets that are not closed yet, each with its offset. `empty`:
    the innermost one was just opened.
    """

    text: str
    jsonc: bool
    at: int = 0
    open: list[tuple[str, int]] = field(default_factory=list)
    empty: bool = False

    def run(self) -> None:
        """Raise _Found at the first error."""
        if not self.text.strip():
            raise _Found(0, "the file is empty (it takes an object; {} is the smallest)")
        self._value('a value: an object in "{ }", a list in "[ ]", a string, a number, true, false or null')
        while self.open:
            if self.empty:
                self._first_member()
            else:
                self._after_value()
        self._blank()
        if self.at < len(self.text):
            raise _Found(self.at, f"{self._here()} after the end of the outermost value (JSON takes one value)")

    def _blank(self) -> str:
        """The next character that counts, or an empty string at the end."""
        found = (_BLANK_OR_COMMENT if self.jsonc else _BLANK).match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.text.startswith(("//", "/*"), self.at):
            # TypeScript takes comments; one that is left here is unfinished.
            raise _Found(self.at, "a comment that never ends" if self.jsonc else "a comment (JSON takes none)")
        return self.text[self.at : self.at + 1]

    def _value(self, wanted: str) -> None:
        """Read a whole string, number or literal, or the opening of an object or a list."""
        character = self._blank()
        if character in {"{", "["}:
            self.open.append((character, self.at))
            self.at += 1
            self.empty = True
        elif character == '"':
            self._string()
        elif found := _NUMBER.match(self.text, self.at) or _LITERAL.match(self.text, self.at):
            self.at = found.end()
        else:
            raise _Found(self.at, self._no_value(character, wanted))

    def _first_member(self) -> None:
        bracket, _ = self.open[-1]
        self.empty = False
        if self._blank() == _CLOSING[bracket]:
            self.open.pop()
            self.at += 1
        else:
            self._member(bracket, None)

    def _after_value(self) -> None:
        """Read a comma and the next member, or the closing bracket of the innermost object or list."""
        bracket, opened = self.open[-1]
        character = self._blank()
        if character == _CLOSING[bracket]:
            self.open.pop()
            self.at += 1
        elif character == ",":
            comma, self.at = self.at, self.at + 1
            self._member(bracket, comma)
        elif character in _OPENING:
            inside = f"{_OPENING[_CLOSING[bracket]]} opened in line {self._line(opened)}"
            raise _Found(self.at, f'"{character}" where the {inside} is to be closed with "{_CLOSING[bracket]}"')
        elif not character:
            raise _Found(self.at, self._cut_off())
        else:
            raise _Found(self.at, f"{self._here()} without a comma before it (JSON takes one between two values)")

    def _member(self, bracket: str, comma: int | None) -> None:
        """`comma`: where the one before this member is; None for the first member."""
        character = self._blank()
        if comma is not None and character in _OPENING:
            if self.jsonc and character == _CLOSING[bracket]:
                return
            raise _Found(comma, f'a comma before "{character}" (JSON takes no trailing comma)')
        if character == ",":
            where = "two commas in a row" if comma is not None else f'a comma after "{bracket}"'
            raise _Found(self.at, f"{where} (JSON takes a value between them)" if comma is not None else where)
        if bracket == "[":
            self._value("a value")
            return
        if character != '"':
            raise _Found(self.at, self._no_name(character))
        name = self._string()
        if self._blank() != ":":
            here = f"{self._here()} " if self.at < len(self.text) else "the end of the file "
            raise _Found(self.at, f'{here}after the name {_short(name)} (JSON takes a ":" and a value)')
        self.at += 1
        self._value(f"a value after {_short(name)}:")

    def _string(self) -> str:
        """Read a string; returns it with its quotes."""
        start = self.at
        found = _STRING.match(self.text, start)
        end = found.end() if found else start
        character = self.text[end : end + 1]
        if character == '"':
            self.at = end + 1
            return self.text[start : self.at]
        if character == "\\":
            escape = self.text[end : end + 2]
            raise _Found(end, f'"{escape}" in a string (JSON takes {_ESCAPES})')
        if character == "\t":
            raise _Found(end, "a tab in a string (JSON takes it as \\t)")
        if character in {"", "\n", "\r"}:
            raise _Found(start, f"the string {_short(self.text[start:end])} has no closing quote")
        code = f"{ord(character):04x}"
        raise _Found(end, f"the control character 0x{code[2:]} in a string (JSON takes it as \\u{code})")

    def _no_value(self, character: str, wanted: str) -> str:
        word = self._word()
        if not character:
            return self._cut_off()
        if character in {"'", "`"}:
            return f"{self._here()}: a string in the wrong quotes (JSON takes double quotes)"
        if word and re.fullmatch(r"[+-]?[0-9.][\w.+-]*", word):
            return f"{_short(word)}, which is not a JSON number (valid: numbers such as 1, -2.5 and 1e6)"
        if word:
            return f"{_short(word)} without quotes (JSON takes strings in double quotes, numbers, true, false and null)"
        return f"{self._here()} where {wanted} has to be"

    def _no_name(self, character: str) -> str:
        word = self._word()
        if not character:
            return self._cut_off()
        if character in {"'", "`"}:
            return f"{self._here()}: a name in the wrong quotes (JSON takes double quotes)"
        if word:
            return f"the name {_short(word)} without quotes (JSON takes names in double quotes)"
        return f'{self._here()} where a name in double quotes or "}}" has to be'

    def _cut_off(self) -> str:
        if not self.open:
            return "the end of the file where a value has to be"
        bracket, opened = self.open[-1]
        inside = f"{_OPENING[_CLOSING[bracket]]} opened in line {self._line(opened)}"
        return f'the file ends before the {inside} is closed with "{_CLOSING[bracket]}"'

    def _here(self) -> str:
        """What stands at `at`, in quotes and not endless."""
        if self.text[self.at] == '"':
            found = _STRING.match(self.text, self.at)
            return _short((found[0] if found else '"') + '"')
        return f'"{_short(self._word() or self.text[self.at])}"'

    def _word(self) -> str:
        found = _WORD.match(self.text, self.at)
        return found[0] if found else ""

    def _line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1


def _short(text: str) -> str:
    return text if len(text) <= FOUND_CHARACTERS else f"{text[:FOUND_CHARACTERS]}…"
