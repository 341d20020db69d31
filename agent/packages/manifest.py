"""Parses package.json, and reports errors in it with file, line and column. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from agent.json_errors import describe
from agent.package_files import MANIFEST
from agent.status import Problem

SPECS: Final = (
    "peerDependencies",
    "optionalDependencies",
    "devDependencies",
    "dependencies",
)
"""The sections that name packages. If several name the same package, the last one counts."""
_NAME_CHARACTERS: Final = 214  # npm's own limit
_TOO_DEEP: Final = "package.json is nested too deeply (it takes objects of up to 250 levels)"


class InvalidManifest(Exception):
    """package.json cannot be used. `problem` says where and why."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None, file: str = MANIFEST) -> None:
        super().__init__(message)
        self.problem = Problem("install", message, file, line, column, code="broken-file")


def parse(data: bytes) -> dict[str, Any]:
    """package.json as an object. Raises InvalidManifest."""
    try:
        value = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        if found := describe(MANIFEST, data):
            raise InvalidManifest(found.report, found.line, found.column) from None
        raise InvalidManifest(f"package.json is not JSON: {error.msg}", error.lineno, error.colno) from None
    if not isinstance(value, dict):
        raise InvalidManifest(f"package.json holds {json_type(value)} (it takes an object)", 1, 1)
    return value


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The same bytes for equal values. Raises InvalidManifest, because orjson parses deeper nesting than it writes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise InvalidManifest(_TOO_DEEP) from None


def specs_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Package → the version, range or address that package.json asks for. Raises InvalidManifest."""
    specs: dict[str, str] = {}
    for section in SPECS:
        entries = manifest.get(section, {})
        if not isinstance(entries, dict):
            raise InvalidManifest(
                f"{section} in package.json is {json_type(entries)} (it takes an object of package names and versions)"
            )
        for name, spec in entries.items():
            if not isinstance(spec, str):
                where = f"{section}.{shortened(name)} in package.json"
                raise InvalidManifest(f"{where} is {json_type(spec)} (it takes a version as a string)")
            specs[name] = spec
    return specs


def scripts_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The scripts of package.json that are strings."""
    scripts = manifest.get("scripts")
    return {name: text for name, text in scripts.items() if isinstance(text, str)} if isinstance(scripts, dict) else {}


def with_extra_packages(data: bytes, extras: Mapping[str, str]) -> bytes:
    """package.json with `extras` added to its devDependencies."""
    manifest = parse(data)
    return orjson.dumps(
        {**manifest, "devDependencies": {**extras, **manifest.get("devDependencies", {})}}, option=orjson.OPT_INDENT_2
    )


def shortened(name: str) -> str:
    """`name` cut for a message, because it may be as long as a file."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"


def json_type(value: object) -> str:
    """The type of a JSON value, for a message."""
    types = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return types.get(type(value), "a number")
