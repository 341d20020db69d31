"""The build scripts that a successful installation did not run, by the manager's own words. Pure.

pnpm from 10 on, yarn from 4.14 on and bun run the scripts of a package only where the app allows it. The installation
counts as done; a native module without its binary then fails at its first import, far from the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent.package_files import MANIFEST
from agent.packages.toolchain import Manager
from agent.status import Problem

_NAMES_SHOWN: Final = 12
_SKIPPED_PNPM = re.compile(r"Ignored build scripts: (.*?)\.(?:\s|$)")
_SKIPPED_BERRY = re.compile(r"➤ YN000[45]: │ (\S+?)@\S+ lists build scripts")
_BLOCKED_BUN = re.compile(r"Blocked (\d+) postinstalls?")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HOW_TO_ALLOW: Final[Mapping[Manager, str]] = {
    "pnpm": 'add them to "onlyBuiltDependencies" in pnpm-workspace.yaml (or to pnpm.onlyBuiltDependencies in '
    'package.json; from pnpm 11 on to "allowBuilds")',
    "yarn-berry": 'set "enableScripts: true" in .yarnrc.yml, or dependenciesMeta.<package>.built in package.json',
    "bun": 'add them to "trustedDependencies" in package.json',
}


def skipped(manager: Manager, lines: Iterable[str]) -> tuple[str, ...]:
    """The packages whose build scripts a successful run did not run."""
    printed = [_COLOURS.sub("", line) for line in lines]
    match manager:
        case "pnpm":
            text = " ".join(" ".join(line.strip("│╭╮╰╯─ ") for line in printed).split())
            names = [part for found in _SKIPPED_PNPM.findall(f"{text} ") for part in found.split(",")]
        case "yarn-berry":
            names = [found[1] for line in printed if (found := _SKIPPED_BERRY.match(line))]
        case _:
            return ()
    return tuple(dict.fromkeys(_key(name.strip()) for name in names if name.strip()))


def blocked_by_bun(lines: Iterable[str]) -> int:
    """How many packages bun left out. It names them only where it may write a lock file."""
    return next((int(found[1]) for line in lines if (found := _BLOCKED_BUN.search(line))), 0)


def note(manager: Manager, names: tuple[str, ...]) -> Problem:
    """What the app's author should know about build scripts that were not run."""
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else "")
    message = (
        f"{manager} did not run the build scripts of {shown}, because the app does not allow them. A package that "
        f"needs its script does not work; to allow it, {_HOW_TO_ALLOW.get(manager, 'allow it in package.json')}"
    )
    return Problem("install", message, MANIFEST, level="warning", code="builds-skipped")


def _key(name: str) -> str:
    """The key that allows the package: its name, or name@specifier where it does not come from a registry, because
    pnpm 10.34 allows those by their specifier only.
    """
    head, _, specifier = name[1:].partition("@")
    return name if not specifier or ":" in specifier else name[0] + head
