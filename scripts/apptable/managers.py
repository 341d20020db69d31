"""How a person calls each package manager, at the version that a row names. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LATEST: Final = "npm"
"""The npm of this machine."""


def name(manager: str) -> str:
    """npm, pnpm, yarn or bun."""
    return manager.partition("@")[0]


def package(manager: str) -> str:
    """What npm installs to get this program; empty for npm itself. Yarn from 2 on has a package of another name."""
    program, _, version = manager.partition("@")
    if program == "npm":
        return ""
    if program == "yarn" and not version.startswith("1."):
        return f"@yarnpkg/cli-dist@{version}"
    return manager


def install(manager: str) -> tuple[str, ...]:
    return (name(manager), "install")


def dev(manager: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
    """The `dev` script; npm alone needs `--` before the script's arguments."""
    between = ("--",) if arguments and name(manager) == "npm" else ()
    return (name(manager), "run", "dev", *between, *arguments)


def lock(manager: str) -> tuple[str, ...]:
    """What writes the lock file. Yarn 1 cannot do that without installing."""
    match name(manager):
        case "npm":
            return ("npm", "install", "--package-lock-only")
        case "yarn" if not manager.startswith("yarn@1."):
            return ("yarn", "install", "--mode=update-lockfile")
        case "yarn":
            return ("yarn", "install", "--ignore-scripts")
        case other:
            return (other, "install", "--lockfile-only")
