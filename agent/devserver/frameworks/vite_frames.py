"""What a message of Vite's own socket says about the compile. Pure.

A message is JSON, `{"type": …}` (vite/types/hmrPayload). `error` carries one error and replaces the one before; a
module that compiles again is an `update` or a `full-reload`, and both mean that the error is mended, as Vite's own
overlay takes them. `connected` opens a connection. Vite says nothing when a compile begins.
"""

from __future__ import annotations

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
    shown, line, column = plain(text).strip(), place.get("line"), place.get("column")
    return Problem(
        source="compile",
        message=_without_paths(shown, workspace)[:MESSAGE_CHARACTERS],
        file=_in_workspace(file.partition("?")[0], exists, workspace, folder) if file else None,
        line=line if isinstance(line, int) else None,
        column=column + 1 if isinstance(column, int) else None,  # Vite counts columns from 0
    )


def _without_paths(text: str, workspace: str) -> str:
    return text.replace(f"{workspace.rstrip('/')}/", "")


def _in_workspace(file: str, exists: Callable[[str], bool], workspace: str, folder: str) -> str:
    inside = file.removeprefix(f"{workspace.rstrip('/')}/").lstrip("/")
    below = f"{folder}/{inside}" if folder else inside
    return below if folder and exists(below) else inside
