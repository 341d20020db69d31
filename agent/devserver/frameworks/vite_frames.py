"""What a message of Vite's own socket says about the compile. Pure.

A message is JSON, `{"type": …}` (vite/types/hmrPayload). `error` carries one error and replaces the one before; a
module that compiles again is an `update` or a `full-reload`, and both mean that the error is mended, as Vite's own
overlay takes them. `connected` opens a connection. Vite says nothing when a compile begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from agent.devserver.frames import MESSAGE_CHARACTERS, Compile
from agent.status import Problem
from agent.text import plain


def read(frame: str, before: Compile, exists: Callable[[str], bool], workspace: str, folder: str) -> Compile:
    """The compile after `frame`; frames.read says what the arguments are."""
    try:
        message = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return before
    match message:
        case {"type": "error", "err": {"message": str(text)} as error}:
            return Compile(errors=(_problem(text, error, exists, workspace, folder),))
        case {"type": "update" | "full-reload" | "connected" | "prune"}:
            return Compile()
        case _:
            return before


def _problem(text: str, error: dict[str, Any], exists: Callable[[str], bool], workspace: str, folder: str) -> Problem:
    place = error.get("loc") or {}
    place = place if isinstance(place, dict) else {}
    file = next((name for name in (place.get("file"), error.get("id")) if isinstance(name, str)), None)
    inside = _in_workspace(file.partition("?")[0], exists, workspace, folder) if file else None
    shown, line, column = plain(text).strip(), place.get("line"), place.get("column")
    message = _without_paths(shown, workspace)[:MESSAGE_CHARACTERS]
    if isinstance(line, int):
        # Vite counts columns from 0.
        return Problem("compile", message, inside, line, column + 1 if isinstance(column, int) else None)
    # Rolldown's errors (Vite 8) name the place in their text only, counted from 1.
    name = re.escape(inside.rpartition("/")[2]) if inside else r"(?!)"
    found = re.search(rf"{name}:(\d{{1,7}}):(\d{{1,7}})", message)
    return Problem("compile", message, inside, *(map(int, found.groups()) if found else ()))


def _without_paths(text: str, workspace: str) -> str:
    return text.replace(f"{workspace.rstrip('/')}/", "")


def _in_workspace(file: str, exists: Callable[[str], bool], workspace: str, folder: str) -> str:
    inside = file.removeprefix(f"{workspace.rstrip('/')}/").lstrip("/")
    below = f"{folder}/{inside}" if folder else inside
    return below if folder and exists(below) else inside
