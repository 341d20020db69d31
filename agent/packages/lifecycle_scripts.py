"""Reads the install scripts of the packages in node_modules.

Everything here blocks, so call it in a thread. generators.py decides which changed file asks for a script again.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agent.packages.node_modules import NodeModules
from agent.packages.workspace_reader import MODULES

RUN_AGAIN: Final = ("install", "postinstall")
_SCRIPTS: Final = ("preinstall", *RUN_AGAIN)
_TEXT_BYTES: Final = 256 * 1024
_FILE_OF_SCRIPT: Final = re.compile(r"(?:^|\s)(?:node\s+)?(\.{0,2}/?[\w@./-]+\.[cm]?js)\b")


@dataclass(frozen=True, slots=True)
class ScriptPackage:
    name: str
    version: str
    folder: str
    """The package's real folder, relative to the workspace."""
    scripts: tuple[tuple[str, str], ...]
    text: str
    """The commands, and the content of the package's own files that they run."""


def packages_with_install_scripts(modules: NodeModules) -> tuple[str, ...]:
    """The names of the top-level packages that have a script for their installation."""
    return tuple(name for name, _, manifest in _packages(modules) if _scripts(manifest, _SCRIPTS))


def script_packages(modules: NodeModules) -> tuple[ScriptPackage, ...]:
    """The top-level packages that have a script to run after they are in place."""
    found = []
    for name, folder, manifest in _packages(modules):
        scripts = _scripts(manifest, RUN_AGAIN)
        if scripts:
            texts = [command for _, command in scripts]
            for command in tuple(texts):
                for path in _FILE_OF_SCRIPT.findall(command):
                    inside = posixpath.normpath(f"{folder}/{path}")
                    if inside.startswith(f"{folder}/"):
                        texts.append((modules.read(inside, _TEXT_BYTES) or b"").decode("utf-8", "replace"))
            found.append(ScriptPackage(name, str(manifest.get("version")), folder, scripts, "\n".join(texts)))
    return tuple(found)


def _packages(modules: NodeModules) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, folder and package.json of each top-level package."""
    names = [name for name in modules.names() if not name.startswith((".", "@"))]
    for scope in modules.names():
        if scope.startswith("@"):
            names += [f"{scope}/{name}" for name in modules.names(f"{MODULES}/{scope}")]
    for name in names:
        folder = f"{MODULES}/{name}"
        if target := modules.link(folder):  # pnpm's; a link out of the tree leads to the app's own code
            folder = posixpath.normpath(posixpath.join(posixpath.dirname(folder), target))
            if not folder.startswith(f"{MODULES}/"):
                continue
        try:
            manifest = orjson.loads(modules.read(f"{folder}/package.json") or b"{}")
        except orjson.JSONDecodeError:
            continue
        if isinstance(manifest, dict):
            yield name, folder, manifest


def _scripts(manifest: dict[str, Any], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    scripts = manifest.get("scripts")
    if not isinstance(scripts, dict):
        return ()
    return tuple((name, scripts[name]) for name in names if isinstance(scripts.get(name), str))
