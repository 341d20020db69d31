"""Names of the files that determine an app's packages and package manager. Pure.

Used by the room that installs and by the room that restarts the dev server.
"""

from __future__ import annotations

from collections.abc import Mapping

MANIFEST = "package.json"
NPM_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
LOCKS: Mapping[str, str] = {
    "pnpm-lock.yaml": "pnpm",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "yarn.lock": "yarn",
}
"""Lock file → package manager. With several lock files the first in this order counts, unless package.json's
packageManager names another. npm's come late because a stray `npm install` leaves one in other managers' projects.
"""
SETTINGS = (".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".yarnrc", ".yarnrc.yml", "bunfig.toml")
TYPESCRIPT_SETTINGS = ("tsconfig.json", "jsconfig.json")
"""Read because a TypeScript app may need packages that it does not list, and because Next.js cannot start if one of
these files is invalid.
"""


def concerns(path: str) -> bool:
    """True if a change of this file may require an installation. That includes every package.json: only the one at the
    root tells which of them are workspaces or local packages.
    """
    at_root = path in LOCKS or path in SETTINGS or path in TYPESCRIPT_SETTINGS
    return at_root or path.rpartition("/")[2] == MANIFEST
