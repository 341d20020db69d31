"""The package manager that is to be run: on PATH as the image carries it, or another version, fetched once.

A fetched one lies in the cache folder of the user who runs it, and is fetched as that user, because it is that user's
code: nothing of it is trusted. From then on it needs no network. Where it cannot be had, the version on PATH is used
instead, or else npm, and that is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.package_files import MANIFEST
from agent.packages import managers, toolchain
from agent.packages.run import Installer
from agent.packages.toolchain import CARRIED, Manager, Tool
from agent.status import Problem

_FOLDER: Final = ".cache/preview-package-managers"
_BINARIES: Final = {"yarn-berry": "yarn"}
_FETCH: Final = """
set -e
rm -rf "$1.partial"
mkdir -p "$1.partial"
cd "$1.partial"
echo '{"private": true}' > package.json
npm install --no-save --no-audit --no-fund --progress=false --loglevel=http -- "$2"
cd "$HOME"
"$1.partial/node_modules/.bin/$3" --version
rm -rf "$1"
mv "$1.partial" "$1"
"""
"""In a folder of its own and not by --prefix, which would also move npm's global settings and lose a proxy or a
certificate that stands there. What is half there never counts. A version that this Node.js cannot run fails here, by
its own words.
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """`program`: what to run, None where the manager's name on PATH does. `variables`: what it needs besides."""

    manager: Manager
    program: str | None
    variables: dict[str, str]
    notes: tuple[Problem, ...] = ()


class Toolbox:
    """Only for one caller at a time."""

    def __init__(self, installer: Installer, on_path: Callable[[str], bool]) -> None:
        self._installer = installer
        self._on_path = on_path

    async def ready(self, tool: Tool, progress: Callable[[str], None]) -> Ready:
        """Have the manager at hand, or the one that takes its place."""
        if tool.manager == "npm" or (tool.spec is None and self._on_path(tool.manager)):
            return Ready(tool.manager, None, {})
        spec = tool.spec or toolchain.package(tool.manager)
        folder = self._installer.home / _FOLDER / re.sub(r"[^\w.@^~-]+", "_", spec).lstrip(".")
        binary = _BINARIES.get(tool.manager, tool.manager)
        why = None if _is_there(folder, binary) else await self._fetch(spec, folder, binary, progress)
        if why is None:
            programs = folder / "node_modules" / ".bin"
            # What the app's own scripts call by its name is the same version.
            path = {"PATH": f"{programs}{os.pathsep}{self._installer.path}"}
            return Ready(tool.manager, str(programs / binary), path)
        if self._on_path(tool.manager):
            version = ".".join(map(str, CARRIED[tool.manager]))
            note = _note(f"{spec} cannot be fetched ({why}): {tool.manager} {version} is used instead")
            return Ready(tool.manager, None, {}, (note,))
        note = _note(
            f"{tool.manager} is not on PATH of this machine and cannot be fetched ({why}): npm installs the packages, "
            f"and does not read the lock file of {tool.manager}"
        )
        return Ready("npm", None, {}, (note,))

    async def _fetch(self, spec: str, folder: Path, binary: str, progress: Callable[[str], None]) -> str | None:
        """Why it could not be fetched, in one line; None: it is there."""
        command = ("sh", "-c", _FETCH, "fetch", str(folder), spec, binary)
        ended = await self._installer.run("npm", command, progress, managers.variables("npm"))
        if ended.why is None:
            return None
        said = ended.cause.message if ended.cause is not None else ended.why
        return " ".join(said.split())[:300] or "npm gave no reason"


def _is_there(folder: Path, binary: str) -> bool:
    return (folder / "node_modules" / ".bin" / binary).exists()


def _note(message: str) -> Problem:
    return Problem("install", message, MANIFEST, level="warning", code="package-manager")
