"""Reads compile errors from Vite's output. Pure.

Vite's hot-reload socket reports them too, but listening there would lose one: while no page is connected, Vite keeps an
error for the next connection. That would be the agent's, and the next page would not show the error.

An error is a headline, its text, and the file (`  File: …`), the same in Vite 3 to 8. It is over, as in Vite's own
overlay, with the next update or reload of a page, and with a restart of the server.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from agent.devserver.frameworks.framework import AppLocation, OutputState
from agent.devserver.nextjs.hmr_messages import MESSAGE_CHARACTERS, Compile
from agent.status import Problem
from agent.text import plain

TEXT_LINES: Final = 60
ERRORS_MOST: Final = 20

_VITE: Final = r"\[vite\](?: \(\w{1,20}\))?"
_HEADLINE: Final = re.compile(rf"{_VITE} (?:Internal server error|Pre-transform error): (?P<text>.*)")
_MENDED: Final = re.compile(rf"{_VITE} (?:hmr update |page reload |server restarted)")
_FILE: Final = re.compile(r" {2}File: (?P<file>[^\0]{1,1024}?)(?::(?P<line>\d{1,7}):(?P<column>\d{1,7}))?$")


def read(line: str, before: OutputState, place: AppLocation) -> OutputState:
    """The state after one more line of output."""
    text = plain(line).rstrip()
    headline = _HEADLINE.search(text)
    if headline is not None:
        return replace(before, pending=(headline["text"],))
    if _MENDED.search(text):
        return OutputState()
    if before.pending is None:
        return before
    file = _FILE.match(text)
    if file is not None:
        return _with(before.compile, before.pending, place, file)
    if text.startswith("      at ") or len(before.pending) >= TEXT_LINES:
        return _with(before.compile, before.pending, place, None)
    return replace(before, pending=(*before.pending, text))


def _with(compile_: Compile, text: tuple[str, ...], place: AppLocation, file: re.Match[str] | None) -> OutputState:
    lines = [line for line in text if not line.startswith("  Plugin: ")]
    message = place.without_paths("\n".join(lines).strip())[:MESSAGE_CHARACTERS]
    if file is None:
        return OutputState(_added(compile_, Problem("compile", message)))
    inside = place.inside(file["file"])
    if file["line"]:
        # Vite counts columns from 0.
        problem = Problem("compile", message, inside, int(file["line"]), int(file["column"]) + 1)
    else:
        # Rolldown's errors (Vite 8) have the position only in their text, counted from 1.
        name = re.escape(inside.rpartition("/")[2])
        found = re.search(rf"{name}:(\d{{1,7}}):(\d{{1,7}})", message)
        problem = Problem("compile", message, inside, *(map(int, found.groups()) if found else ()))
    return OutputState(_added(compile_, problem))


def _added(compile_: Compile, problem: Problem) -> Compile:
    """One error per file: the last one that Vite reports."""
    others = tuple(one for one in compile_.errors if one.file != problem.file)
    return replace(compile_, errors=(*others[-(ERRORS_MOST - 1) :], problem))
