"""What files mean to the dev server: which must exist before a start, and which change asks for what. Pure.

Next.js watches its own sources, styles, routes and configuration; what stands here is only what it does not heal by
itself. Measured on 16.4: a changed next.config makes it restart itself, but a broken one ends the whole process, and
mending the file does not bring it back; a changed .env file is read again, but the values of a deleted one stay.

A rule is one more branch of `meaning`, and what to do about it is one more row in lifecycle's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

Meaning = Literal["sources", "config", "restart"]
"""sources: nothing but a chance for a server that gave up. config: a reason to start now if the last one died.
restart: the running process holds values that only a new one forgets.
"""

NEXT_PROGRAM = "node_modules/next/dist/bin/next"
ROUTE_FOLDERS = ("app", "pages", "src/app", "src/pages")


def meaning(written: Iterable[str], deleted: Iterable[str]) -> Meaning:
    """What one applied set asks for. Paths are relative to the workspace; the strongest meaning counts."""
    deleted = tuple(deleted)
    if any(_in_root(path, ".env") for path in deleted):
        return "restart"
    if any(_in_root(path, "next.config.") for path in (*written, *deleted)):
        return "config"
    return "sources"


def missing(command: Iterable[str], workspace: str, exists: Callable[[str], bool]) -> str | None:
    """What must still come before `command` can run, as one sentence; None: it may start.

    Only Next's own program is judged; of another command nobody here knows what it needs.
    """
    if not any(NEXT_PROGRAM in word for word in command):
        return None
    if not exists("package.json"):
        return f"package.json is not in {workspace} yet"
    if not exists(NEXT_PROGRAM):
        return f"node_modules/next is not installed in {workspace}: run npm install there"
    if not any(exists(folder) for folder in ROUTE_FOLDERS):
        return f"none of the folders {', '.join(ROUTE_FOLDERS)} is in {workspace} yet"
    return None


def _in_root(path: str, start: str) -> bool:
    return "/" not in path and path.startswith(start)
