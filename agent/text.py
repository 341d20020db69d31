"""Cleans text of other programs: removes escape sequences, control characters and surrogates. Pure."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, links
    r"|\x1b[@-Z\\^_]"  # two-character sequences; `[` and `]` open the longer ones above
    r"|\x1b[\[\]][^a-zA-Z]*$"  # a sequence that was cut off
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # other control characters; tab and newline stay
)


def plain(text: str) -> str:
    """`text` without terminal escape sequences and control characters; tabs and newlines stay."""
    return _ESCAPES.sub("", text)


def printable(text: str, most: int) -> str:
    """The first `most` characters of `text` on one line: unprintable characters become spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most]).strip()


def escaped(text: str, most: int) -> str:
    """The first `most` characters of `text`, unprintable ones as Python escapes, and `…` for the rest."""
    if len(text) <= most and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text[:most])
    return shown + ("…" if len(text) > most else "")


def utf8(text: str) -> str:
    """`text` with lone surrogates as escapes. They stand for bytes that were not UTF-8, and JSON cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode()
