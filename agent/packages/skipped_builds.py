"""Finds in a manager's output which build scripts a successful installation did not run. Pure.

pnpm since 10, yarn since 4.14 and bun run the scripts of a package only if the app allows it. The installation succeeds
nevertheless; a native module without its binary fails later, at its first import, with a misleading error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent.package_files import MANIFEST
from agent.packages.toolchain import Manager
from agent.status import Problem
from agent.text import plain

_NAMES_SHOWN: Final = 12
_SKIPPED_PNPM = re.compile(r"Ignored build scripts: (.*?)\.(?:\s|$)")
_SKIPPED_BERRY = re.compile(r"➤ YN000[45]: │ (\S+?)@\S+ lists build scripts")
_BLOCKED_BUN = re.compile(r"Blocked (\d+) postinstalls?")
_HOW_TO_ALLOW: Final[Mapping[Manager, str]] = {
    "pnpm": 'add them to "onlyBuiltDependencies" in pnpm-workspace.yaml (or to pnpm.onlyBuiltDependencies in '
    'package.json; from pnpm 11 on to "allowBuilds")',
    "yarn-berry": 'set "enableScripts: true" in .yarnrc.yml, or dependenciesMeta.<package>.built in package.json',
    "bun": 'add them to "trustedDependencies" in package.json',
}


def skipped_packages(manager: Manager, lines: Iterable[str]) -> tuple[str, ...]:
    """The packages whose build scripts were not run."""
    printed = [plain(line) for line in lines]
    match manager:
        case "pnpm":
            text = " ".join(" ".join(line.strip("│╭╮╰╯─ ") for line in printed).split())
            names = [part for found in _SKIPPED_PNPM.findall(f"{text} ") for part in found.split(",")]
        case "yarn-berry":
            names = [found[1] for line in printed if (found := _SKIPPED_BERRY.match(line))]
        case _:
            return ()
    return tuple(dict.fromkeys(_key(name.strip()) for name in names if name.strip()))


def count_blocked_by_bun(lines: Iterable[str]) -> int:
    """How many packages bun skipped. It names them only if it may write a lock file."""
    return next((int(found[1]) for line in lines if (found := _BLOCKED_BUN.search(line))), 0)


def skipped_note(manager: Manager, names: tuple[str, ...]) -> Problem:
    """The warning about build scripts that were not run, and how to allow them."""
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else "")
    message = (
        f"{manager} did not run the build scripts of {shown}, because the app does not allow them. A package that "
        "needs its script does not work without it. To allow it, "
        f"{_HOW_TO_ALLOW.get(manager, 'name it in package.json')}"
    )
    return Problem("install", message, MANIFEST, level="warning", code="builds-skipped")


def _key(name: str) -> str:
    """The key that allows the package: its name, or name@specifier where it does not come from a registry, because
    pnpm 10.34 allows those by their specifier only.
    """
    head, _, specifier = name[1:].partition("@")
    return name if not specifier or ":" in specifier else name[0] + head
