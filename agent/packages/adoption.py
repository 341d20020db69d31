"""Whether a node_modules that nobody remembers is one that npm made from the same lock file. Pure."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from agent.package_files import MANIFEST, NPM_LOCKS
from agent.packages.manifest import SPECS, Broken, parse, specs_of
from agent.packages.wanted import Files, locks_that_count


def adopted(files: Files, managed: AbstractSet[str], hidden: bytes, is_installed: Callable[[str, str], bool]) -> bool:
    """Whether npm already made node_modules of this package.json and its npm lock file, as npm's own record in it
    (`hidden`) tells. Unsure is no: an installation that was not needed costs a second.

    `is_installed(name, version)` looks at one package's own package.json.
    """
    locks = locks_that_count(files, managed)
    if not locks or locks[0] not in NPM_LOCKS:
        return False
    try:
        said, lock = parse(files[MANIFEST]), orjson.loads(files[locks[0]])
        wanted, there = dict(lock["packages"]), orjson.loads(hidden)["packages"]
        root = wanted.pop("")
        if any(said.get(section, {}) != root.get(section, {}) for section in (*SPECS, "workspaces")):
            return False
        if any(_version(wanted.get(path)) != _version(package) for path, package in there.items()):
            return False
        if any(not package.get("optional") for path, package in wanted.items() if path not in there):
            return False  # an optional one may be for another system
        direct = {name: f"node_modules/{name}" for name in specs_of(said)}
        if not wanted.keys() >= set(direct.values()):
            return False
    except (Broken, ValueError, LookupError, TypeError, AttributeError):
        return False
    return all(is_installed(name, str(there[path]["version"])) for name, path in direct.items() if path in there)


def _version(package: Any) -> tuple[object, ...]:
    if package is None or package.get("link"):
        raise ValueError  # it is no package of the lock file, or not one of a registry
    return package["version"], package.get("integrity")
