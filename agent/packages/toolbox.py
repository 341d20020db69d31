"""Provides the program of a package manager: the one on PATH, or another version, fetched once.

A fetched version is stored in the cache folder of the user who runs it, and is fetched as that user: the app's code can
change it, so nothing of it is trusted. Later runs need no network. If it cannot be fetched, the version on PATH is used
instead, or else npm, and a note says so.
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
from agent.packages.run import CommandRunner
from agent.packages.toolchain import BUNDLED, Manager, ManagerVersion
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
"""npm runs in a folder of its own. With --prefix it would also use another folder for its global settings, and so lose
a proxy or a certificate that is set there. A partial download is never used, and a version that does not run on this
Node.js fails here with its own message.
"""


@dataclass(frozen=True, slots=True)
class ReadyManager:
    manager: Manager
    program: str | None
    """The path to run; None if PATH has the manager by its name."""
    environment: dict[str, str]
    """The environment variables that it needs in addition."""
    notes: tuple[Problem, ...] = ()


class Toolbox:
    """Not reentrant: one caller at a time."""

    def __init__(self, runner: CommandRunner, on_path: Callable[[str], bool]) -> None:
        self._runner = runner
        self._on_path = on_path

    async def ready_manager(self, tool: ManagerVersion, progress: Callable[[str], None]) -> ReadyManager:
        """The wanted manager, fetched if needed, or the one that replaces it."""
        if tool.manager == "npm" or (tool.spec is None and self._on_path(tool.manager)):
            return ReadyManager(tool.manager, None, {})
        spec = tool.spec or toolchain.npm_package(tool.manager)
        folder = self._runner.home / _FOLDER / re.sub(r"[^\w.@^~-]+", "_", spec).lstrip(".")
        binary = _BINARIES.get(tool.manager, tool.manager)
        failure = None if _is_fetched(folder, binary) else await self._fetch(spec, folder, binary, progress)
        if failure is None:
            programs = folder / "node_modules" / ".bin"
            # Scripts of the app that call the manager by its name get the same version.
            path = {"PATH": f"{programs}{os.pathsep}{self._runner.path}"}
            return ReadyManager(tool.manager, str(programs / binary), path)
        if self._on_path(tool.manager):
            version = ".".join(map(str, BUNDLED[tool.manager]))
            note = _note(f"{spec} cannot be fetched ({failure}): {tool.manager} {version} is used instead")
            return ReadyManager(tool.manager, None, {}, (note,))
        note = _note(
            f"{tool.manager} is not on PATH of this machine and cannot be fetched ({failure}): npm installs the "
            f"packages instead, and does not read the lock file of {tool.manager}"
        )
        return ReadyManager("npm", None, {}, (note,))

    async def _fetch(self, spec: str, folder: Path, binary: str, progress: Callable[[str], None]) -> str | None:
        """Fetch it. Returns the reason of a failure in one line, None for a success."""
        command = ("sh", "-c", _FETCH, "fetch", str(folder), spec, binary)
        result = await self._runner.run("npm", command, progress, managers.environment("npm"))
        if result.failure is None:
            return None
        reason = result.cause.message if result.cause is not None else result.failure
        return " ".join(reason.split())[:300] or "npm gave no reason"


def _is_fetched(folder: Path, binary: str) -> bool:
    return (folder / "node_modules" / ".bin" / binary).exists()


def _note(message: str) -> Problem:
    return Problem("install", message, MANIFEST, level="warning", code="package-manager")
