"""What a changed file means to the dev server. Pure.

Next.js watches its own sources, styles, routes and configuration, so the rules here cover only changes that it does not
pick up by itself. Measured on 16.4: a changed next.config makes it restart itself, but a broken one ends the process,
and fixing the file does not start it again; a changed .env file is read again, but the values of a deleted one stay. It
follows without a restart: proxy and middleware, tsconfig paths, postcss.config, babel.config, `type` in package.json,
new and changed .env files, everything in public, JSON that is imported or read, _app, instrumentation-client.

A new rule is a row of `rules`, and its consequence a row of lifecycle's table. Whether changed manifests need an
installation is decided in `agent/packages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.nextjs import NEXT
from agent.package_files import concerns

Meaning = Literal["sources", "packages", "config", "restart"]
"""sources: only a failed server is started again. packages, config: a server that waits to be started again is started
at once. restart: the running process has read values that only a new process reads again.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files of the app's folder, what must have become of them, and what follows."""

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


def rules(framework: Framework) -> tuple[Rule, ...]:
    """The first that holds counts. What none names means "sources": no compile error is mended by a restart."""
    once = _NEXT if framework.name == NEXT.name else ()
    return (
        *_ENV[framework.env],
        *once,
        Rule(lambda name: name.startswith(framework.config or ("\0",)), *_CONFIG),
        _PACKAGES,
    )


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
_NEXT = (
    # It reads this file once: a new one never runs, and of a changed or a deleted one the first version goes on. Its
    # browser counterpart, instrumentation-client, is part of the pages and follows every change.
    Rule(
        lambda name: name.startswith("instrumentation."),
        "written or deleted",
        "restart",
        "the instrumentation file changed, and Next.js reads it only at its start",
        in_src=True,
    ),
)
# It restarts itself, unless the last version of the file ended it.
_CONFIG: tuple[Literal["written or deleted"], Meaning] = ("written or deleted", "config")
# It finds installed and removed packages by itself; another version of what it has loaded is seen to after an
# installation, by what was really replaced (LOADED_BY_SERVER in two_phase_plan.py).
_PACKAGES = Rule(concerns, "written or deleted", "packages")


def consequence(
    written: Iterable[str], deleted: Iterable[str], folder: str = "", framework: Framework = NEXT
) -> Consequence:
    """What one applied set asks for. Paths are relative to the workspace, `folder` is the app's in it; the strongest
    meaning counts.
    """
    there, gone = frozenset(_in_app(written, folder)), frozenset(_in_app(deleted, folder))
    for rule in rules(framework):
        if rule.holds(there, gone):
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
    routes stay 404. With `app` gone every route of `pages` is a 500. With `pages` gone nothing is needed. Where no
    folder is left, the one that comes next decides.
    """
    if now == Routes() or (now.app == known.app and now.pages in {None, known.pages}):
        return None
    places = " and ".join(folder for folder in (now.app, now.pages) if folder)
    return Consequence(
        "restart", f"the routes are in {places} now, and Next.js looks for these folders only at its start"
    )


def still_watched(known: Routes, now: Routes) -> Routes:
    """The folders of `known` that Next still watches, when those of `now` are there.

    A deleted folder is not among them, even if it is created again at once: measured on 16.4, whether Next notices
    that depends on how soon it comes back, and where it does not, every route in it stays 404.
    """
    return Routes(known.app if known.app == now.app else None, known.pages if known.pages == now.pages else None)


def _in_app(paths: Iterable[str], folder: str) -> Iterator[str]:
    """The paths relative to the app's folder, and those of the root that say which packages are wanted."""
    below = f"{folder}/" if folder else ""
    for path in paths:
        if path.startswith(below):
            yield path.removeprefix(below)
        elif concerns(path):
            yield path.rpartition("/")[2]
