"""Parses a line of POSIX shell into simple commands and their words, each with its position in the text. Pure.

It knows the part of the grammar that scripts of package.json use (POSIX.1, 2.3 "Token Recognition"): quotes, escapes,
expansions, operators, redirections and comments. Nothing is expanded: a word that the shell would expand has no value.

Invariant: a word's `raw` is `text[start:end]`, so that a word can be replaced without changing the text around it.

What must not live here: what a command means (dev_script.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_OPERATORS: Final = ("&&", "||", ";;", "|&", "&>>", "&>", ">>", "<<", ">&", "<&", ">|", "<>", "&", "|", ";", "(", ")")
_REDIRECTIONS: Final = frozenset({"&>>", "&>", ">>", "<<", ">&", "<&", ">|", "<>", ">", "<"})
_PLAIN: Final = re.compile(r"[^\s'\"\\$`&|;()<>*?\[\]~#]+")
_SAFE: Final = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)
_CLOSED_BY: Final = {"(": ")", "{": "}"}


class Unreadable(ValueError):
    """A quote or an expansion is not closed."""


@dataclass(frozen=True, slots=True)
class Word:
    raw: str
    value: str | None
    """The word after quote removal; None if the shell would expand it."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command."""

    words: tuple[Word, ...]
    """Without redirections."""
    redirected: bool = False
    """It has redirections."""


@dataclass(frozen=True, slots=True)
class ScriptLine:
    commands: tuple[Command, ...]
    operators: tuple[str, ...]
    """The operators that join or group the commands, in order. Empty for one simple command."""


def scan(text: str) -> ScriptLine:
    """Raises Unreadable."""
    return _Scanner(text).line()


def quoted(value: str) -> str:
    """`value` quoted for the shell."""
    return value if _SAFE.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"


def replaced(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """`text` with each (start, end, new) replaced. They must not overlap."""
    for start, end, new in sorted(replacements, reverse=True):
        text = text[:start] + new + text[end:]
    return text


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._commands: list[Command] = []
        self._operators: list[str] = []
        self._words: list[Word] = []
        self._redirected = False

    def line(self) -> ScriptLine:
        text = self._text
        while self._at < len(text):
            character = text[self._at]
            if character == "\n":
                self._end(";")
                self._at += 1
            elif character.isspace():
                self._at += 1
            elif character == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif operator := self._operator():
                self._at += len(operator)
                if operator in _REDIRECTIONS:
                    self._redirect()
                else:
                    self._end(operator)
            else:
                self._words.append(self._word())
        self._close()
        return ScriptLine(tuple(self._commands), tuple(self._operators))

    def _operator(self) -> str | None:
        found = next((operator for operator in _OPERATORS if self._text.startswith(operator, self._at)), None)
        return found or next((one for one in "<>" if self._text[self._at] == one), None)

    def _end(self, operator: str) -> None:
        self._close()
        self._operators.append(operator)

    def _close(self) -> None:
        if self._words or self._redirected:
            self._commands.append(Command(tuple(self._words), self._redirected))
        self._words, self._redirected = [], False

    def _redirect(self) -> None:
        """Skip the file descriptor before the operator and the target after it."""
        self._redirected = True
        last = self._words[-1] if self._words else None
        if last is not None and last.raw.isdigit() and self._text[last.end :].startswith((">", "<")):
            del self._words[-1]
        while self._text[self._at : self._at + 1] in {" ", "\t"}:
            self._at += 1
        if self._at < len(self._text) and self._operator() is None and self._text[self._at] != "\n":
            self._word()

    def _word(self) -> Word:
        text, start, known = self._text, self._at, True
        value: list[str] = []
        while self._at < len(text):
            character = text[self._at]
            if found := _PLAIN.match(text, self._at):
                value.append(found[0])
                self._at = found.end()
            elif character == "'":
                end = self._find("'", self._at + 1)
                value.append(text[self._at + 1 : end])
                self._at = end + 1
            elif character == '"':
                inner, inner_known = self._double()
                value.append(inner)
                known &= inner_known
            elif character == "\\":
                if self._at + 1 >= len(text):
                    raise Unreadable("it ends with a backslash")
                value.append("" if text[self._at + 1] == "\n" else text[self._at + 1])
                self._at += 2
            elif character in "$`":
                known &= self._expansion(value)
            elif character in "*?[]~#":
                # A tilde is special only at the start of a word, the characters of a pattern anywhere.
                known &= character in "]#" or (character == "~" and self._at > start)
                value.append(character)
                self._at += 1
            else:
                break
        return Word(text[start : self._at], "".join(value) if known else None, start, self._at)

    def _double(self) -> tuple[str, bool]:
        text, known = self._text, True
        value: list[str] = []
        self._at += 1
        while True:
            if self._at >= len(text):
                raise Unreadable("a double quote is not closed")
            character = text[self._at]
            if character == '"':
                self._at += 1
                return "".join(value), known
            if character == "\\" and text[self._at + 1 : self._at + 2] in {"$", "`", '"', "\\", "\n"}:
                value.append(text[self._at + 1].replace("\n", ""))
                self._at += 2
            elif character in "$`":
                known &= self._expansion(value)
            else:
                value.append(character)
                self._at += 1

    def _expansion(self, value: list[str]) -> bool:
        """Skip one expansion. Returns True if the character stands for itself."""
        text = self._text
        if text[self._at] == "`":
            self._at = self._find("`", self._at + 1) + 1
            return False
        following = text[self._at + 1 : self._at + 2]
        if following in _CLOSED_BY:
            self._at = self._balanced(self._at + 1, following, _CLOSED_BY[following])
            return False
        self._at += 1
        if following and (following.isalnum() or following in "_@*#?$!-"):
            self._at += 1
            while following.isalpha() or following == "_":
                following = text[self._at : self._at + 1]
                if not following or not (following.isalnum() or following == "_"):
                    break
                self._at += 1
            return False
        value.append("$")
        return True

    def _balanced(self, at: int, opening: str, closing: str) -> int:
        depth = 0
        while at < len(self._text):
            character = self._text[at]
            if character == "\\":
                at += 1
            elif character in "'\"":
                at = self._find(character, at + 1)
            depth += (character == opening) - (character == closing)
            at += 1
            if not depth:
                return at
        raise Unreadable(f"a {closing} is missing")

    def _find(self, mark: str, at: int) -> int:
        found = self._text.find(mark, at)
        if found < 0:
            raise Unreadable(f"a {mark} is missing")
        return found
