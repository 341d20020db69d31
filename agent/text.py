"""Text for people out of text for terminals: escape sequences and control characters removed. Pure."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, links
    r"|\x1b[@-Z\\^_]"  # two-character sequences; `[` and `]` open the longer ones above
    r"|\x1b[\[\]][^a-zA-Z]*$"  # a sequence that a cut left unfinished
    r"|[\x00-\x08\x0b-\x1f\x7f]"  # other control characters; tab and newline stay
)


def plain(text: str) -> str:
    return _ESCAPES.sub("", text)
