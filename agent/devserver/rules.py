"""What a changed file means to the dev server. Pure.

Next.js watches its own sources, styles, routes and configuration; what stands here is only what it does not heal by
itself. Measured on 16.4: a changed next.config makes it restart itself, but a broken one ends the whole process, and
mending the file does not bring it back; a changed .env file is read again, but the values of a deleted one stay.

A rule is one more row of `rules`, and what to do about it is one more row in lifecycle's table. Whether a change of the
packages' files asks for an installation is decided by what stands in them: packages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.nextjs import NEXT
from agent.package_files import concerns

Meaning = Literal["sources", "packages", "config", "restart"]
"""sources: nothing but a chance for a server that gave up. packages, config: a reason to start now if the last one
died. restart: the running process holds values that only a new one forgets.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files of the app's folder, what must have become of them, and what follows."""

    files: Callable[[str], bool]
    when: Literal["deleted", "written or deleted"]
    meaning: Meaning
    why: str = ""
    """For people, where it restarts a server that runs."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What one applied set asks for. `why`: for people, the reason of a restart."""

    meaning: Meaning
    why: str = ""


def rules(framework: Framework) -> tuple[Rule, ...]:
    """The first that holds counts. What none names means "sources": no compile error is mended by a restart."""
    return (*_ENV[framework.env], Rule(lambda name: name.startswith(framework.config or ("\0",)), *_CONFIG), _PACKAGES)


_ENV: Mapping[str, tuple[Rule, ...]] = {
    "all": (),
    # Next keeps the values of a file that is gone. A changed or a new one it reads by itself.
    "all but deleted": (
        Rule(
            lambda name: name.startswith(".env"),
            "deleted",
            "restart",
            "a .env file was deleted, and its values only go away with a restart",
        ),
    ),
    "none": (
        Rule(
            lambda name: name.startswith(".env"),
            "written or deleted",
            "restart",
            "a .env file changed, and the app's server reads it only at its start",
        ),
    ),
}
# It restarts itself, unless the last version of the file ended it.
_CONFIG: tuple[Literal["written or deleted"], Meaning] = ("written or deleted", "config")
# It finds installed and removed packages by itself; another version of what it has loaded is seen to after an
# installation, by what was really replaced (packages.LOADED).
_PACKAGES = Rule(concerns, "written or deleted", "packages")


def consequence(
    written: Iterable[str], deleted: Iterable[str], folder: str = "", framework: Framework = NEXT
) -> Consequence:
    """What one applied set asks for. Paths are relative to the workspace, `folder` is the app's in it; the strongest
    meaning counts.
    """
    gone = set(_at_top(deleted, folder))
    touched = gone | set(_at_top(written, folder))
    for rule in rules(framework):
        if any(map(rule.files, gone if rule.when == "deleted" else touched)):
            return Consequence(rule.meaning, rule.why)
    return Consequence("sources")


@dataclass(frozen=True, slots=True)
class Routes:
    """The folders that Next takes its routes from. It looks for them once, at its start."""

    app: str | None = None
    pages: str | None = None


def routes(framework: Framework, folder: str, exists: Callable[[str], bool]) -> Routes:
    """The folders in the app's `folder` that a Next started now would take: one at its root hides that in `src`."""
    if framework.name != NEXT.name:
        return Routes()
    below = f"{folder}/" if folder else ""
    found = (next((at for at in (name, f"src/{name}") if exists(below + at)), None) for name in ("app", "pages"))
    return Routes(*found)


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


def _at_top(paths: Iterable[str], folder: str) -> Iterator[str]:
    """The names of the files in the app's folder, and at the root those that say which packages are wanted."""
    for path in paths:
        above, _, name = path.rpartition("/")
        if above == folder or (not above and concerns(name)):
            yield name
