"""Whether the node_modules that a machine starts with is exactly what an app without a lock file asks for. Pure.

That tree is the template's. It is used as a whole or not at all: an installation on top of it would choose versions
that fit the template's, which the app never asked for (design, decision 13). adoption.py answers the same question for
an app with a lock file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_SPECS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_RESOLVED_OTHERWISE = (
    *("overrides", "resolutions", "workspaces", "patchedDependencies", "bundleDependencies", "bundledDependencies"),
    *("pnpm", "catalog", "catalogs", "packageManager"),
)


def matches_exactly(manifest: bytes, hidden: bytes) -> bool:
    """`manifest`: package.json; `hidden`: npm's record of node_modules (node_modules/.package-lock.json).

    True if every package that package.json names is installed in exactly the version that it names, and every other
    package is needed by one of those. A range never matches, because a registry may have a newer version by now. When
    in doubt return False: then the packages are installed.
    """
    try:
        package, there = orjson.loads(manifest), orjson.loads(hidden)["packages"]
        specs = {name: spec for section in _SPECS for name, spec in package.get(section, {}).items()}
        if not specs or any(section in package for section in _RESOLVED_OTHERWISE):
            return False
        if any(there[f"node_modules/{name}"]["version"] != spec for name, spec in specs.items()):
            return False
        return bool(_needed(there, specs) == there.keys())
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _needed(there: Mapping[str, Any], specs: Mapping[str, str]) -> set[str]:
    """The places in node_modules of the packages in `specs` and of all packages that they need."""
    needed: set[str] = set()
    waiting = [f"node_modules/{name}" for name in specs]
    while waiting:
        place = waiting.pop()
        if place in needed:
            continue
        needed.add(place)
        package = there[place]
        for section in ("dependencies", "optionalDependencies", "peerDependencies"):
            found = (_place(name, place, there) for name in package.get(section, {}))
            waiting += [below for below in found if below is not None]
    return needed


def _place(name: str, above: str, there: Mapping[str, Any]) -> str | None:
    """Where Node finds `name` from the package at `above`; None if it is not installed (an optional one)."""
    while True:
        place = f"{above}/node_modules/{name}" if above else f"node_modules/{name}"
        if place in there:
            return place
        if not above:
            return None
        above = above.rpartition("/node_modules/")[0] if "/node_modules/" in above else ""
