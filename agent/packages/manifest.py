"""package.json as values: parsed, with the place and the line of what is wrong with it. Pure."""

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
"""The sections that name packages; the last one to name a package counts."""
_NAME_CHARACTERS: Final = 214  # npm's own limit
_DEEP: Final = "package.json is nested too deeply (it takes objects of up to 250 levels)"


class Broken(Exception):
    """A file cannot be used; `problem` says which, where and why."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None, file: str = MANIFEST) -> None:
        super().__init__(message)
        self.problem = Problem("install", message, file, line, column, code="broken-file")


def parse(data: bytes) -> dict[str, Any]:
    """package.json as an object. Raises Broken."""
    try:
        value = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        if found := describe(MANIFEST, data):
            raise Broken(found.report, found.line, found.column) from None
        raise Broken(f"package.json is not JSON: {error.msg}", error.lineno, error.colno) from None
    if not isinstance(value, dict):
        raise Broken(f"package.json holds {kind(value)} (it takes an object)", 1, 1)
    return value


def written(asked: Mapping[str, Any]) -> bytes:
    """The same bytes for the same values. What can be read may still lie deeper than can be written."""
    try:
        return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise Broken(_DEEP) from None


def specs_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Package → what package.json asks of it. Raises Broken."""
    specs: dict[str, str] = {}
    for section in SPECS:
        asked = manifest.get(section, {})
        if not isinstance(asked, dict):
            raise Broken(
                f"{section} in package.json is {kind(asked)} (it takes an object of package names and versions)"
            )
        for name, spec in asked.items():
            if not isinstance(spec, str):
                where = f"{section}.{shortened(name)} in package.json"
                raise Broken(f"{where} is {kind(spec)} (it takes a version as a string)")
            specs[name] = spec
    return specs


def scripts_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The scripts that are strings."""
    scripts = manifest.get("scripts")
    return {name: text for name, text in scripts.items() if isinstance(text, str)} if isinstance(scripts, dict) else {}


def with_more(data: bytes, extras: Mapping[str, str]) -> bytes:
    """package.json with these packages among its devDependencies besides."""
    manifest = parse(data)
    return orjson.dumps(
        {**manifest, "devDependencies": {**extras, **manifest.get("devDependencies", {})}}, option=orjson.OPT_INDENT_2
    )


def shortened(name: str) -> str:
    """A name for a message: it may be as long as a file."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"


def kind(value: object) -> str:
    """What a JSON value is, for a message."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
