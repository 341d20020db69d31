"""Decides which folder holds the app that is run. Pure.

It is the root, unless that is a workspace (npm, yarn and bun: `workspaces` in package.json; pnpm: `packages` in
pnpm-workspace.yaml) with the app in a member. A member is an app if one of its scripts serves it: a package of
components may depend on React or Next.js and is not an app.

What must not live here: the disk (launch.py reads the manifests).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.devserver.command.dev_script import Package, rewrite
from agent.devserver.frameworks import known
from agent.devserver.frameworks.framework import Framework

SCRIPTS: Final = ("dev", "develop", "start", "serve")
"""The scripts that may serve an app, the most likely first."""
_ANY_PORT: Final = 1
_PATTERN_CHARACTERS: Final = 200
_PATTERN_STARS: Final = 6
_SECTIONS: Final = ("dependencies", "devDependencies", "optionalDependencies")


@dataclass(frozen=True, slots=True)
class Member:
    """One package of the workspace."""

    folder: str
    """Its path in the workspace, empty for the root."""
    package: Package
    name: str = ""
    version: str = ""


def member(folder: str, manifest: Mapping[str, Any]) -> Member:
    """The relevant parts of a package.json. Values of an unexpected type are ignored."""
    scripts = manifest.get("scripts")
    dependencies: set[str] = set()
    for section in _SECTIONS:
        found = manifest.get(section)
        dependencies |= set(found) if isinstance(found, dict) else set()
    own = {name: text for name, text in scripts.items() if isinstance(text, str)} if isinstance(scripts, dict) else {}
    name, version = manifest.get("name"), manifest.get("version")
    return Member(
        folder,
        Package(own, frozenset(dependencies)),
        name if isinstance(name, str) else "",
        version if isinstance(version, str) else "",
    )


def script_of(package: Package) -> str | None:
    """The name of the script that serves the app; None if there is none, or for the framework's default."""
    if package.scripts.get("dev", "").strip():
        return "dev"
    for name in SCRIPTS[1:]:
        if name in package.scripts and rewrite(name, package, _ANY_PORT).tool is not None:
            return name
    if known.by_packages(package.dependencies) is not None:
        return None  # its `start` serves a production build
    return next((name for name in SCRIPTS[1:] if package.scripts.get(name, "").strip()), None)


def framework_of(package: Package) -> Framework | None:
    """The known framework of the app in this package; None if it is not an app, or of an unknown framework."""
    by_packages = known.by_packages(package.dependencies)
    name = script_of(package)
    if name is None:
        return by_packages
    script = rewrite(name, package, _ANY_PORT)
    if script.framework is not None:
        return script.framework
    return by_packages if script.own_server else None


def choose(root: Member, members: Sequence[Member], asked: str | None) -> Member | str:
    """The package to run, or one sentence that says why none can be chosen. `asked`: APP_DIR."""
    if asked is not None:
        return _asked(root, members, asked)
    apps = [one for one in members if framework_of(one.package) is not None]
    if not apps or framework_of(root.package) is not None:
        return root
    if len(apps) == 1:
        return apps[0]
    named = [one for one in apps if _names(root, one)]
    if len(named) == 1:
        return named[0]
    shown = ", ".join(one.folder for one in apps)
    return f"there are several apps in this workspace ({shown}): set APP_DIR to the folder of the one to preview"


def _asked(root: Member, members: Sequence[Member], asked: str) -> Member | str:
    if asked in {"", "."}:
        return root
    found = next((one for one in members if one.folder == asked), None)
    return found or f"APP_DIR is {asked}, and there is no package.json in that folder yet"


def _names(root: Member, one: Member) -> bool:
    """Whether the root's own dev script names this member, as in `pnpm --filter web dev` or `cd apps/web && …`."""
    text = root.package.scripts.get("dev", "")
    names = [re.escape(name) for name in (one.name, one.folder) if name]
    return any(re.search(rf"(?<![\w@/.-]){name}(?![\w/-])", text) for name in names)


def patterns(manifest: Mapping[str, Any], pnpm: str | None) -> tuple[str, ...]:
    """The glob patterns of the workspace's members. `pnpm`: the text of pnpm-workspace.yaml."""
    if pnpm is not None:
        return tuple(_yaml_list(pnpm, "packages"))
    globs = manifest.get("workspaces")
    if isinstance(globs, dict):
        globs = globs.get("packages")
    return tuple(one for one in globs if isinstance(one, str)) if isinstance(globs, list) else ()


def is_member(folder: str, among: Iterable[str]) -> bool:
    """Whether the patterns match a folder's path. A pattern with `!` excludes what earlier ones matched."""
    inside = False
    for pattern in among:
        if len(pattern) > _PATTERN_CHARACTERS or pattern.count("*") > _PATTERN_STARS:
            continue  # bounds the time that matching takes
        plain = pattern.removeprefix("!").removeprefix("./").strip("/")
        if re.fullmatch(_expression(plain), folder):
            inside = not pattern.startswith("!")
    return inside


def _expression(pattern: str) -> str:
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append(re.escape(part).replace(r"\*", "[^/]*") + "/")
    return "".join(parts).removesuffix("/") if pattern and not pattern.endswith("**") else "".join(parts) + "[^/]+"


def _yaml_list(text: str, key: str) -> list[str]:
    """The strings of one top-level list in block or flow style."""
    lines = iter(text.splitlines())
    items: list[str] = []
    for line in lines:
        if not line.startswith(f"{key}:"):
            continue
        inline = line.removeprefix(f"{key}:").strip()
        if inline.startswith("["):
            items = inline.partition("[")[2].partition("]")[0].split(",")
            break
        for below in lines:
            item = below.strip()
            if item.startswith("-"):
                items.append(item.removeprefix("-"))
            elif item and not item.startswith("#"):
                break
        break
    plain = (item.partition(" #")[0].strip().strip("'\"") for item in items)
    return [item for item in plain if item]
