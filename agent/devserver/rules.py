"""What files mean to the dev server: which must exist before a start, and which change asks for what. Pure.

Next.js watches its own sources, styles, routes and configuration; what stands here is only what it does not heal by
itself. Measured on 16.4: a changed next.config makes it restart itself, but a broken one ends the whole process, and
mending the file does not bring it back; a changed .env file is read again, but the values of a deleted one stay. It
follows without a restart: proxy and middleware, tsconfig paths, postcss.config, babel.config, `type` in package.json,
new and changed .env files, public with all that is in it, JSON that is imported or read, _app, instrumentation-client.

A rule is one more row of RULES, and what to do about it is one more row in lifecycle's table. Whether a change of the
packages' files asks for an installation is decided by what stands in them: packages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from agent.package_files import concerns

Meaning = Literal["sources", "packages", "config", "restart"]
"""sources: nothing but a chance for a server that gave up. packages, config: a reason to start now if the last one
died. restart: the running process holds values that only a new one forgets.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files of the workspace's root, what must have become of them, and what follows."""

    files: Callable[[str], bool]
    when: Literal["deleted", "written or deleted"]
    meaning: Meaning
    why: str = ""
    """For people, where it restarts a server that runs."""
    in_src: bool = False
    """Next reads such a file from `src` as well."""

    def holds(self, written: frozenset[str], deleted: frozenset[str]) -> bool:
        paths = deleted if self.when == "deleted" else written | deleted
        names = {path.removeprefix("src/") if self.in_src else path for path in paths}
        return any(self.files(name) for name in names if "/" not in name)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What one applied set asks for. `why`: for people, the reason of a restart."""

    meaning: Meaning
    why: str = ""


RULES = (
    # The process keeps the values of a file that is gone. A changed or a new one it reads by itself.
    Rule(
        lambda name: name.startswith(".env"),
        "deleted",
        "restart",
        "a .env file was deleted, and its values only go away with a restart",
    ),
    # It reads this file once: a new one never runs, and of a changed or a deleted one the first version goes on. Its
    # browser counterpart, instrumentation-client, is part of the pages and follows every change.
    Rule(
        lambda name: name.startswith("instrumentation."),
        "written or deleted",
        "restart",
        "the instrumentation file changed, and Next.js reads it only at its start",
        in_src=True,
    ),
    # It restarts itself, unless the last version of the file ended it.
    Rule(lambda name: name.startswith("next.config."), "written or deleted", "config"),
    # It finds installed and removed packages by itself; another version of what it has loaded is seen to after an
    # installation, by what was really replaced (packages.LOADED).
    Rule(concerns, "written or deleted", "packages"),
)
"""The first that holds counts. What none names means "sources": above all, no compile error is mended by a restart."""

NEXT_PROGRAM = "node_modules/next/dist/bin/next"
ROUTE_FOLDERS = ("app", "pages", "src/app", "src/pages")


def consequence(written: Iterable[str], deleted: Iterable[str]) -> Consequence:
    """What one applied set asks for. Paths are relative to the workspace; the strongest meaning counts."""
    there, gone = frozenset(written), frozenset(deleted)
    for rule in RULES:
        if rule.holds(there, gone):
            return Consequence(rule.meaning, rule.why)
    return Consequence("sources")


@dataclass(frozen=True, slots=True)
class Routes:
    """The folders that Next takes its routes from. It looks for them once, at its start."""

    app: str | None = None
    pages: str | None = None


def routes(command: Iterable[str], exists: Callable[[str], bool]) -> Routes:
    """The folders that a Next started now would take: the one at the root hides the one below `src`."""
    if not _is_next(command):
        return Routes()
    return Routes(*(next(filter(exists, (name, f"src/{name}")), None) for name in ("app", "pages")))


def moved(known: Routes, now: Routes) -> Consequence | None:
    """A restart where the running Next, which knows the folders `known`, does not serve the routes that are there.

    Measured on 16.4 with both bundlers: a folder that came into being after the start is never looked at, so that its
    routes stay 404. With `app` gone every route of `pages` is a 500. With `pages` gone, and when a folder comes back
    to its place, nothing is needed. Where no folder is left, the one that comes next decides.
    """
    if now == Routes() or (now.app == known.app and now.pages in {None, known.pages}):
        return None
    places = " and ".join(folder for folder in (now.app, now.pages) if folder)
    return Consequence(
        "restart", f"the routes are in {places} now, and Next.js looks for these folders only at its start"
    )


def missing(command: Iterable[str], workspace: str, exists: Callable[[str], bool]) -> str | None:
    """What must still come before `command` can run, as one sentence; None: it may start.

    Only Next's own program is judged; of another command nobody here knows what it needs.
    """
    if not _is_next(command):
        return None
    if not exists("package.json"):
        return f"package.json is not in {workspace} yet"
    if not exists(NEXT_PROGRAM):
        return (
            f"node_modules/next is not installed in {workspace}: package.json has to name next among its dependencies"
        )
    if not any(exists(folder) for folder in ROUTE_FOLDERS):
        return f"none of the folders {', '.join(ROUTE_FOLDERS)} is in {workspace} yet"
    return None


def _is_next(command: Iterable[str]) -> bool:
    return any(NEXT_PROGRAM in word for word in command)
