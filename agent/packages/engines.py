"""Checks the running Node.js against the range that the app asks for in `engines`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.packages import semver


def required_node(manifest: Mapping[str, Any]) -> str | None:
    """The range of Node.js versions that package.json asks for."""
    engines = manifest.get("engines")
    asked = engines.get("node") if isinstance(engines, dict) else None
    return asked if isinstance(asked, str) and len(asked) <= 200 else None


def mismatch(asked: str | None, running: str | None) -> str | None:
    """The warning for an app that asks for another Node.js; None if this one fits, or if that is unknown."""
    has = semver.version(running) if running else None
    if asked is None or has is None or semver.satisfies(has, asked) is not False:
        return None
    return (
        f'package.json asks for Node.js "{asked}" (engines), and Node.js {".".join(map(str, has))} runs here: the '
        "packages are installed anyway, but may not work"
    )
