"""Whether a node_modules of unknown origin is what npm installed from the same lock file. Pure."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from agent.package_files import MANIFEST, NPM_LOCKS
from agent.packages.manifest import SPECS, InvalidManifest, parse, specs_of
from agent.packages.wanted import Files, effective_locks


def matches_npm_lock(
    files: Files, managed: AbstractSet[str], hidden: bytes, is_installed: Callable[[str, str], bool]
) -> bool:
    """Whether npm has already installed this package.json and its npm lock file, according to npm's own record of
    node_modules (`hidden`). When in doubt return False: a needless install costs about a second.

    `is_installed(name, version)` checks one package's own package.json.
    """
    locks = effective_locks(files, managed)
    if not locks or locks[0] not in NPM_LOCKS:
        return False
    try:
        manifest, lock = parse(files[MANIFEST]), orjson.loads(files[locks[0]])
        wanted, there = dict(lock["packages"]), orjson.loads(hidden)["packages"]
        root = wanted.pop("")
        if any(manifest.get(section, {}) != root.get(section, {}) for section in (*SPECS, "workspaces")):
            return False
        if any(_version(wanted.get(path)) != _version(package) for path, package in there.items()):
            return False
        if any(not package.get("optional") for path, package in wanted.items() if path not in there):
            return False  # an optional package may be for another system
        direct = {name: f"node_modules/{name}" for name in specs_of(manifest)}
        if not wanted.keys() >= set(direct.values()):
            return False
    except (InvalidManifest, ValueError, LookupError, TypeError, AttributeError):
        return False
    return all(is_installed(name, str(there[path]["version"])) for name, path in direct.items() if path in there)


def _version(package: Any) -> tuple[object, ...]:
    if package is None or package.get("link"):
        raise ValueError  # the lock file does not have it, or it is not from a registry
    return package["version"], package.get("integrity")
