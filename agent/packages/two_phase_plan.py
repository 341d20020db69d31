"""Whether an installation runs before the app's sources are moved in, after them, or both. Pure.

What must not live here: which packages are wanted (wanted.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.packages.wanted import WantedPackages

LOADED_BY_SERVER = ("next", "react", "react-dom", "vite", "astro")
"""Packages that a running dev server has in memory, and keeps there when another version is installed."""

_NAME = re.compile(r"(?:@[A-Za-z0-9~_][\w.~-]*/)?[A-Za-z0-9~_][\w.~-]*")
_NOT_FROM_REGISTRY = re.compile(r"(?:file|link|portal|workspace|catalog|patch):|\.{0,2}/")


@dataclass(frozen=True, slots=True)
class TwoPhasePlan:
    install_before: bool
    """Install before the sources are moved in, so that no new import is ever without its package."""
    install_after: bool
    """Install after the sources are moved in."""
    keep: tuple[str, ...] = ()
    """`name@version` of packages that are no longer wanted, but stay until the sources that import them are gone."""
    removed: tuple[str, ...] = ()
    """The packages that package.json no longer names."""


def two_phase_plan(before: WantedPackages | None, after: WantedPackages, *, is_new: bool) -> TwoPhasePlan:
    """`before`: what package.json asked for until now; None if unknown. `is_new`: there is no working tree to keep, and
    no server that could show an error meanwhile.
    """
    if is_new or before is None:
        return TwoPhasePlan(install_before=False, install_after=True)
    removed = {name: spec for name, spec in before.specs.items() if name not in after.specs}
    kept = {name: spec for name, spec in before.specs.items() if name in after.specs}
    names = tuple(sorted(name for name in removed if _NAME.fullmatch(name)))
    if removed and kept == after.specs:
        return TwoPhasePlan(install_before=False, install_after=True, removed=names)
    keep = tuple(f"{name}@{removed[name]}" for name in names if not _NOT_FROM_REGISTRY.match(removed[name]))
    again = bool(removed) or after.own_scripts is not None
    return TwoPhasePlan(install_before=True, install_after=again, keep=keep, removed=names)


def replaced_packages(before: WantedPackages | None, after: WantedPackages) -> tuple[str, ...]:
    """The packages of LOADED_BY_SERVER whose wanted version changes."""
    return tuple(name for name in LOADED_BY_SERVER if before and before.specs.get(name) != after.specs.get(name))
