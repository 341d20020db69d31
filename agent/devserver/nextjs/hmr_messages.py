"""Reads the compile state from a message of Next's hot-reload socket. Pure.

A message is JSON, `{"type": …}` (Next 16) or `{"action": …}` (Next 15 and older). `building` starts a compile. `built`
and `sync` carry all current errors, so a late listener gets them too, and an empty list means that none is left.
`built` also follows a plain request, with the same errors as before. Type errors are never included: `next dev` does
not check types. Other kinds are meant for browsers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from agent.status import Problem
from agent.text import plain

MESSAGE_CHARACTERS = 4000

_PLACE = re.compile(r"(?:\./|\[project\]/)(?P<file>[^\n:]+)(?::(?P<line>\d+):(?P<column>\d+))?[^\n]*\n")
_LOADER = re.compile(r"Module build failed \(from [^)\n]{1,300}\):\n")
_DRAWN = re.compile(r"[,╭][-─]\[(?P<file>[^\]\n]{1,1024}):(?P<line>\d{1,7}):(?P<column>\d{1,7})\]")


@dataclass(frozen=True, slots=True)
class Compile:
    compiling: bool = False
    errors: tuple[Problem, ...] = ()


def read(frame: str, before: Compile, exists: Callable[[str], bool], workspace: str, folder: str = "") -> Compile:
    """The compile state after `frame`. `exists`: whether a path relative to `workspace` exists. `folder`: the app's
    folder in the workspace.
    """
    try:
        message = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return before
    if not isinstance(message, dict):
        return before
    match message.get("type", message.get("action")):
        case "building":
            return replace(before, compiling=True)
        case "built" | "sync":
            errors = message.get("errors")
            found = [_problem(error, exists, workspace, folder) for error in errors] if isinstance(errors, list) else []
            return Compile(errors=tuple(dict.fromkeys(problem for problem in found if problem is not None)))
        case _:
            return before


def _problem(error: Any, exists: Callable[[str], bool], workspace: str, folder: str) -> Problem | None:
    message = error.get("message") if isinstance(error, dict) else error
    if not isinstance(message, str):
        return None
    text = plain(message).strip()
    if _LOADER.match(text):
        module = error.get("moduleName") if isinstance(error, dict) else None
        drawn = _DRAWN.search(text)
        named = (
            module if isinstance(module, str) else f"./{drawn['file'].removeprefix(_below(workspace))}" if drawn else ""
        )
        text = f"{named}\n{text}"  # the form that webpack uses elsewhere
    place = _PLACE.match(text)
    if place is None:
        return Problem("compile", text.replace(_below(workspace), "").strip()[:MESSAGE_CHARACTERS])
    rest = text[place.end() :].strip()
    file = _in_workspace(place["file"], exists, workspace, folder)
    if _LOADER.match(rest):
        return _of_loader(_LOADER.sub("", rest), file, workspace)
    return Problem(
        source="compile",
        message=rest[:MESSAGE_CHARACTERS],
        file=file,
        line=int(place["line"]) if place["line"] else None,
        column=int(place["column"]) if place["column"] else None,
    )


def _of_loader(text: str, file: str, workspace: str) -> Problem:
    """An error of webpack's script loader, which draws its position (`,-[/workspace/app/page.tsx:4:1]`)."""
    drawn = _DRAWN.search(text)
    message = text.replace(_below(workspace), "").strip()[:MESSAGE_CHARACTERS]
    line, column = (int(drawn["line"]), int(drawn["column"])) if drawn else (None, None)
    return Problem("compile", message, file, line, column)


def _below(workspace: str) -> str:
    return f"{workspace.rstrip('/')}/"


def _in_workspace(file: str, exists: Callable[[str], bool], workspace: str, folder: str) -> str:
    """`file` relative to the workspace. Turbopack's paths are relative to its own root, and a lock file above the
    workspace moves that root up: `apps/shop/app/page.tsx` is then `app/page.tsx` in the workspace `…/apps/shop`.
    """
    for own in (f"{folder}/{file}", file) if folder else (file,):
        if exists(own):
            return own
    parts, above = file.split("/"), workspace.strip("/").split("/")
    for shared in range(min(len(parts) - 1, len(above)), 0, -1):
        below = "/".join(parts[shared:])
        if parts[:shared] == above[-shared:] and exists(below):
            return below
    return file
