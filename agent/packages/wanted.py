"""package.json and the lock files → which packages are wanted. Pure.

`read` makes a Wanted of the files' bytes. Its digest stands for everything that an installer would act on and for
nothing else: order and whitespace of package.json, its name, its version and the scripts that no installation runs do
not count. What was installed is remembered by that digest.

What must not live here: how a package manager is called (managers.py), when it is (course.py), and the disk
(node_modules.py).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from agent.json_errors import conflict, describe
from agent.package_files import LOCKS, MANIFEST, NPM_LOCKS, SETTINGS, TYPESCRIPT_SETTINGS, concerns
from agent.packages import completion, engines, toolchain
from agent.packages.managers import plugs_and_plays
from agent.packages.manifest import Broken, parse, scripts_of, specs_of, written
from agent.packages.toolchain import Manager, Tool
from agent.status import Problem

Files = Mapping[str, bytes]
"""Path relative to the workspace → bytes."""

_SECTIONS = (
    "peerDependencies",
    "optionalDependencies",
    "devDependencies",
    "dependencies",
    "peerDependenciesMeta",
    "dependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "overrides",
    "resolutions",
    "packageManager",
    "devEngines",
    "workspaces",
    "pnpm",
    "allowScripts",
    "trustedDependencies",
    "patchedDependencies",
    "catalog",
    "catalogs",
)
OWN_SCRIPTS = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare")
"""The app's own scripts that an installation runs, in their order."""
_LOCAL = re.compile(r"(?:file|link|portal):(?P<path>[^#]+).*|(?P<bare>\.{1,2}/.+)")
_PATCH = re.compile(r"patch:.*#(?:~/|\./)?(?P<path>[^:]+?)(?:::.*)?")
_PNPM_PATCH = re.compile(rb"[:\s'\"]((?:[A-Za-z0-9@_-][\w.@+-]*/)*[\w@][\w.@+-]*\.patch)\b")
_YARN_FOLDERS = (".yarn/patches", ".yarn/plugins", ".yarn/releases")


@dataclass(frozen=True, slots=True)
class Wanted:
    digest: str
    tool: Tool
    specs: Mapping[str, str]
    """Package → what package.json asks of it."""
    locals: tuple[str, ...] = ()
    """Paths in the workspace that are packages or patches themselves."""
    own_scripts: Mapping[str, str] | None = None
    """Those of the app's scripts that run after each install, and may read any file of its own."""
    extras: tuple[tuple[str, str], ...] = ()
    """Packages with their versions that are installed although package.json does not name them."""
    locked: bool = False
    """A lock file that the manager reads names the versions."""
    node: str | None = None
    """The range of Node.js versions that package.json asks for."""
    notes: tuple[Problem, ...] = ()
    """What its owner should know, though it does not stand in the way."""

    @property
    def manager(self) -> Manager:
        return self.tool.manager

    @property
    def nothing(self) -> bool:
        return not self.specs and not self.locals


def read(files: Files, managed: AbstractSet[str]) -> Wanted | None:
    """What `files` (all that `concerns` holds of) ask for; None without a package.json. Raises Broken.

    `managed`: the paths of all of the app's own files. A lock file that only the template left behind counts where the
    app has none.
    """
    if MANIFEST not in files:
        return None
    manifest = parse(files[MANIFEST])
    specs = specs_of(manifest)
    choice = toolchain.choose(manifest, files, locks_that_count(files, managed))
    manager, lock = choice.tool.manager, choice.lock
    locals_ = tuple(_locals(manifest, specs, members_are_listed="pnpm-workspace.yaml" in files))
    if manager == "yarn-berry":
        locals_ += _YARN_FOLDERS
    if manager == "pnpm":  # from 10 on it lists its patches there
        locals_ += tuple(found.decode() for found in _PNPM_PATCH.findall(files.get("pnpm-workspace.yaml", b"")))
    read_too = [*SETTINGS, *([lock] if lock else [])]
    read_too += sorted(path for path in files if path != MANIFEST and _is_in(path, locals_) and concerns(path))
    own_scripts = {name: text for name, text in scripts_of(manifest).items() if name in OWN_SCRIPTS}
    extras = completion.missing(specs, managed)
    asked = {
        "manager": manager,
        "sections": {name: manifest[name] for name in _SECTIONS if name in manifest},
        "files": {path: hashlib.sha256(files[path]).hexdigest() for path in read_too if path in files},
        **({"extras": list(extras)} if extras else {}),
        **({"scripts": own_scripts} if own_scripts else {}),
    }
    notes = [Problem("install", note, level="warning", code="package-manager") for note in choice.notes]
    return Wanted(
        hashlib.sha256(written(asked)).hexdigest(),
        choice.tool,
        specs,
        locals_,
        own_scripts or None,
        extras,
        locked=lock is not None,
        node=engines.asked_of_node(manifest),
        notes=(*notes, *_faults(files, lock), *_linker(manager, files)),
    )


def locks_that_count(files: Files, managed: AbstractSet[str]) -> list[str]:
    """The lock files that name the manager, in the order of LOCKS: the app's own where it has any."""
    locks = [lock for lock in LOCKS if lock in files]
    return [lock for lock in locks if lock in managed] or locks


def _faults(files: Files, lock: str | None) -> Iterator[Problem]:
    """The other files of the root that are read at an installation or a start, and cannot be."""
    for path in TYPESCRIPT_SETTINGS:
        if (error := describe(path, files.get(path, b"{}"), jsonc=True)) is not None:
            yield Problem("install", error.report, path, error.line, error.column, code="broken-file")
    if lock is None:
        return
    error = (describe if lock in NPM_LOCKS else conflict)(lock, files[lock])
    if error is not None:
        message = f"{error.report}\nThe versions in it cannot be used"
        yield Problem("install", message, lock, error.line, error.column, level="warning", code="broken-file")


def _linker(manager: Manager, files: Files) -> Iterator[Problem]:
    if manager == "yarn-berry" and plugs_and_plays(files.get(".yarnrc.yml", b"")):
        yield Problem(
            "install",
            "yarn's Plug'n'Play is not used here: the packages of yarn.lock are installed into node_modules instead, "
            "as with nodeLinker: node-modules in .yarnrc.yml",
            ".yarnrc.yml" if ".yarnrc.yml" in files else None,
            level="warning",
            code="node-linker",
        )


def _locals(manifest: Mapping[str, Any], specs: Mapping[str, str], *, members_are_listed: bool) -> Iterator[str]:
    """The paths whose packages are the app's own. The empty path: anywhere."""
    if members_are_listed:
        yield ""
    members = manifest.get("workspaces", [])
    if isinstance(members, dict):
        members = members.get("packages", [])
    patterns = [member for member in members if isinstance(member, str)] if isinstance(members, list) else []
    paths = [pattern.partition("*")[0].rpartition("/")[0] if "*" in pattern else pattern for pattern in patterns]
    resolutions = manifest.get("resolutions")
    every = [*specs.values(), *(resolutions.values() if isinstance(resolutions, dict) else [])]
    asked = [spec for spec in every if isinstance(spec, str)]
    paths += [found["path"] or found["bare"] for spec in asked if (found := _LOCAL.fullmatch(spec))]
    paths += [found["path"] for spec in asked if (found := _PATCH.fullmatch(spec))]
    pnpm = manifest.get("pnpm")
    for patched in (
        manifest.get("patchedDependencies"),
        pnpm.get("patchedDependencies") if isinstance(pnpm, dict) else None,
    ):
        paths += [path for path in patched.values() if isinstance(path, str)] if isinstance(patched, dict) else []
    for path in paths:
        inside = posixpath.normpath(path)
        if not inside.startswith(("../", "/")) and inside != "..":
            yield "" if inside == "." else inside


def _is_in(path: str, places: tuple[str, ...]) -> bool:
    return any(not place or path == place or path.startswith(f"{place}/") for place in places)


def needs(wanted: Wanted, path: str) -> bool:
    """Whether an installer reads `path`, so that it has to be in place before."""
    if concerns(path):
        return "/" not in path or _is_in(path, wanted.locals)
    return _is_in(path, tuple(place for place in wanted.locals if place))


__all__ = ["Broken", "Files", "Manager", "Wanted", "locks_that_count", "needs", "read"]
