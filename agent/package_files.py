"""The names of the files that say which packages an app wants, and which manager installs them. Pure.

A leaf: the room that installs and the room that restarts the dev server both have to recognise these files.
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
"""Lock file → its manager. Where there are several the first one here counts, unless package.json's packageManager
names another of them. npm's come late because a stray `npm install` leaves one in a project of another manager.
"""
SETTINGS = (".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".yarnrc", ".yarnrc.yml", "bunfig.toml")
TYPESCRIPT_SETTINGS = ("tsconfig.json", "jsconfig.json")
"""Read because a TypeScript app may need packages that it does not name, and because Next.js cannot start where one of
these is broken.
"""


def concerns(path: str) -> bool:
    """Whether a change of this file may ask for an installation. A package.json further down does where it is a
    workspace's or a local package's, which only the one at the root tells.
    """
    at_root = path in LOCKS or path in SETTINGS or path in TYPESCRIPT_SETTINGS
    return at_root or path.rpartition("/")[2] == MANIFEST
