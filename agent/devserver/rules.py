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


def rules(framework: Framework) -> tuple[Rule, ...]:
    """The first that holds counts. What none names means "sources": no compile error is mended by a restart."""
    return (*_ENV[framework.env], Rule(lambda name: name.startswith(framework.config or ("\0",)), *_CONFIG), _PACKAGES)


_ENV: Mapping[str, tuple[Rule, ...]] = {
    "all": (),
    # Next keeps the values of a file that is gone. A changed or a new one it reads by itself.
    "all but deleted": (Rule(lambda name: name.startswith(".env"), "deleted", "restart"),),
    "none": (Rule(lambda name: name.startswith(".env"), "written or deleted", "restart"),),
}
# It restarts itself, unless the last version of the file ended it.
_CONFIG: tuple[Literal["written or deleted"], Meaning] = ("written or deleted", "config")
# It finds installed and removed packages by itself; another version of what it has loaded is seen to after an
# installation, by what was really replaced (packages.LOADED).
_PACKAGES = Rule(concerns, "written or deleted", "packages")


def meaning(written: Iterable[str], deleted: Iterable[str], folder: str = "", framework: Framework = NEXT) -> Meaning:
    """What one applied set asks for. Paths are relative to the workspace, `folder` is the app's in it; the strongest
    meaning counts.
    """
    gone = set(_at_top(deleted, folder))
    touched = gone | set(_at_top(written, folder))
    for rule in rules(framework):
        if any(map(rule.files, gone if rule.when == "deleted" else touched)):
            return rule.meaning
    return "sources"


def _at_top(paths: Iterable[str], folder: str) -> Iterator[str]:
    """The names of the files in the app's folder, and at the root those that say which packages are wanted."""
    for path in paths:
        above, _, name = path.rpartition("/")
        if above == folder or (not above and concerns(name)):
            yield name
