"""How an installation goes together with the files that come with it: before the sources, after them, or both. Pure.

What must not live here: what is wanted (wanted.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.packages.wanted import Wanted

LOADED = ("next", "react", "react-dom", "vite", "astro")
"""What a running dev server has loaded, and keeps when another version takes its place on the disk."""

_NAME = re.compile(r"(?:@[A-Za-z0-9~_][\w.~-]*/)?[A-Za-z0-9~_][\w.~-]*")
_ELSEWHERE = re.compile(r"(?:file|link|portal|workspace|catalog|patch):|\.{0,2}/")


@dataclass(frozen=True, slots=True)
class Course:
    """How an installation goes together with the files that come with it.

    `ahead`: install before the sources are moved in, so that no new import is ever without its package. `keep`: what
    is not wanted any more and stays until the sources that import it are gone. `behind`: install after them. `gone`:
    the packages that package.json names no more.
    """

    ahead: bool
    behind: bool
    keep: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def course(before: Wanted | None, after: Wanted, *, is_new: bool) -> Course:
    """`before` is what package.json asked for until now, None where nobody knows. `is_new`: there is no tree to keep
    working, and no server that could show an error in between.
    """
    if is_new or before is None:
        return Course(ahead=False, behind=True)
    gone = {name: spec for name, spec in before.specs.items() if name not in after.specs}
    stayed = {name: spec for name, spec in before.specs.items() if name in after.specs}
    names = tuple(sorted(name for name in gone if _NAME.fullmatch(name)))
    if gone and stayed == after.specs:
        return Course(ahead=False, behind=True, gone=names)
    keep = tuple(f"{name}@{gone[name]}" for name in names if not _ELSEWHERE.match(gone[name]))
    return Course(ahead=True, behind=bool(gone) or after.own_scripts is not None, keep=keep, gone=names)


def replaced(before: Wanted | None, after: Wanted) -> tuple[str, ...]:
    """The packages of LOADED of which another version is asked for."""
    return tuple(name for name in LOADED if before and before.specs.get(name) != after.specs.get(name))
