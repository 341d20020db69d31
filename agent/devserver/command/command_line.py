"""Puts the preview's port and address into one command line, and tells whether it needs a shell. Pure.

What must not live here: which flags set them (frameworks/), and scripts of more than one command (dev_script.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agent.devserver.command.shell_words import Command, Unreadable, Word, quoted, scan
from agent.devserver.frameworks.framework import DroppedFlag, ServerProgram

KEYWORDS: Final = frozenset({"!", "{", "}", "then", "do", "else", "time", "exec", "command", "nohup"})
"""Words of the shell that may precede a command."""


def arguments(tool: ServerProgram, words: Iterable[Word], port: int) -> tuple[list[str], list[str]]:
    """The raw arguments of `tool` with the preview's port and address, and notes about the flags that were left out."""
    kept, notes = _without_flags(tool.dropped, list(words))
    at = kept.index("--") if "--" in kept else len(kept)
    kept[at:at] = [filled(word, port) for word in tool.added]
    return kept, notes


def _without_flags(flags: tuple[DroppedFlag, ...], words: list[Word]) -> tuple[list[str], list[str]]:
    kept: list[str] = []
    notes: list[str] = []
    raw = [word.raw for word in words]
    at = 0
    while at < len(words):
        word = words[at]
        name, equals, _ = (word.value or word.raw).partition("=")
        flag = next((flag for flag in flags if _is_flag(flag, name, word.value)), None)
        at += 1
        if flag is None:
            kept.append(word.raw)
            if word.value == "--":
                kept += raw[at:]
                break
            continue
        joined = bool(equals) or name not in flag.names
        follows = at < len(words) and not (words[at].value or "").startswith("-")
        if not joined and (flag.value == "needed" or (flag.value == "optional" and follows)):
            at += 1
        if flag.note:
            notes.append(flag.note.format(flag=flag.names[0] if name not in flag.names else name))
    return kept, notes


def _is_flag(flag: DroppedFlag, name: str, value: str | None) -> bool:
    """Whether the word is this flag. A short flag may have its value attached, as in -p3000."""
    if name in flag.names:
        return True
    short = (value or "")[:2]
    return flag.value == "needed" and short in flag.names and (value or "")[2:].isdigit()


def filled(text: str, port: int) -> str:
    return text.replace("{port}", str(port))


def assignments(variables: Mapping[str, str], port: int) -> list[str]:
    return [f"{name}={quoted(filled(value, port))}" for name, value in variables.items()]


def only_command(text: str) -> Command | None:
    """The simple command in `text`; None if running `text` needs a shell."""
    try:
        line = scan(text)
    except Unreadable:
        return None
    if len(line.commands) != 1 or line.operators:
        return None
    command = line.commands[0]
    plain = not command.redirected and all(word.value is not None for word in command.words)
    return command if plain and command.words[0].raw not in KEYWORDS else None
