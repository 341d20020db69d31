"""Which packages package.json and the lock files ask for. Pure.

`wanted_packages` turns the files' bytes into a WantedPackages. Its digest ignores whatever does not affect an
installation: the formatting and order of package.json, its name and version, and scripts such as `dev`. An installation
is needed if the digest differs from the recorded one (`PackageInstaller._is_installed` asks `NodeModules.matches`).

What must not live here: how a package manager is called (managers.py), when it runs (two_phase_plan.py), and the disk
(node_modules.py).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from agent.json_errors import conflict, describe
from agent.package_files import LOCKS, MANIFEST, NPM_LOCKS, SETTINGS, TYPESCRIPT_SETTINGS, concerns
from agent.packages import completion, engines, toolchain
from agent.packages.managers import uses_plug_and_play
from agent.packages.manifest import canonical_json, parse, scripts_of, specs_of
from agent.packages.toolchain import Manager, ManagerVersion
from agent.status import Problem

Files = Mapping[str, bytes]
"""Path relative to the workspace → content."""

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
"""The app's own scripts that an installation runs, in this order."""
_LOCAL = re.compile(r"(?:file|link|portal):(?P<path>[^#]+).*|(?P<bare>\.{1,2}/.+)")
_PATCH = re.compile(r"patch:.*#(?:~/|\./)?(?P<path>[^:]+?)(?:::.*)?")
_PNPM_PATCH = re.compile(rb"[:\s'\"]((?:[A-Za-z0-9@_-][\w.@+-]*/)*[\w@][\w.@+-]*\.patch)\b")
_YARN_FOLDERS = (".yarn/patches", ".yarn/plugins", ".yarn/releases")


@dataclass(frozen=True, slots=True)
class WantedPackages:
    digest: str
    tool: ManagerVersion
    specs: Mapping[str, str]
    """Package → the version, range or address that package.json asks for."""
    local_paths: tuple[str, ...] = ()
    """Paths in the workspace from which packages or patches are installed."""
    own_scripts: Mapping[str, str] | None = None
    """The app's scripts that run with each installation. They may read any file of the app."""
    extras: tuple[tuple[str, str], ...] = ()
    """Packages and versions that are installed although package.json does not name them."""
    locked: bool = False
    """The manager has a lock file that fixes the versions."""
    node: str | None = None
    """The range of Node.js versions that package.json asks for."""
    notes: tuple[Problem, ...] = ()
    """Warnings for the app's author, which do not prevent an installation."""

    @property
    def manager(self) -> Manager:
        return self.tool.manager

    @property
    def is_empty(self) -> bool:
        return not self.specs and not self.local_paths


def wanted_packages(files: Files, managed: AbstractSet[str]) -> WantedPackages | None:
    """The packages that `files` ask for; None without a package.json. Raises InvalidManifest.

    `files`: every file for which package_files.concerns is true. `managed`: the paths of all of the app's own files. A
    lock file that the template left counts only if the app has none.
    """
    if MANIFEST not in files:
        return None
    manifest = parse(files[MANIFEST])
    specs = specs_of(manifest)
    choice = toolchain.choose_manager(manifest, files, effective_locks(files, managed))
    manager, lock = choice.tool.manager, choice.lock
    local_paths = tuple(_local_paths(manifest, specs, members_are_listed="pnpm-workspace.yaml" in files))
    if manager == "yarn-berry":
        local_paths += _YARN_FOLDERS
    if manager == "pnpm":  # since pnpm 10, patches are listed in pnpm-workspace.yaml
        local_paths += tuple(found.decode() for found in _PNPM_PATCH.findall(files.get("pnpm-workspace.yaml", b"")))
    inputs = [*SETTINGS, *([lock] if lock else [])]
    inputs += sorted(path for path in files if path != MANIFEST and _is_in(path, local_paths) and concerns(path))
    own_scripts = {name: text for name, text in scripts_of(manifest).items() if name in OWN_SCRIPTS}
    extras = completion.missing_packages(specs, managed)
    digested = {
        "manager": manager,
        "sections": {name: manifest[name] for name in _SECTIONS if name in manifest},
        "files": {path: hashlib.sha256(files[path]).hexdigest() for path in inputs if path in files},
        **({"extras": list(extras)} if extras else {}),
        **({"scripts": own_scripts} if own_scripts else {}),
    }
    notes = [Problem("install", note, level="warning", code="package-manager") for note in choice.notes]
    return WantedPackages(
        hashlib.sha256(canonical_json(digested)).hexdigest(),
        choice.tool,
        specs,
        local_paths,
        own_scripts or None,
        extras,
        locked=lock is not None,
        node=engines.required_node(manifest),
        notes=(
            *notes,
            *_broken_files(files, lock),
            *_linker_note(manager, files),
            *_ignored_members(manager, manifest, files),
        ),
    )


def effective_locks(files: Files, managed: AbstractSet[str]) -> list[str]:
    """The lock files that choose the manager, in the order of LOCKS: the app's own ones if it has any."""
    locks = [lock for lock in LOCKS if lock in files]
    return [lock for lock in locks if lock in managed] or locks


def _broken_files(files: Files, lock: str | None) -> Iterator[Problem]:
    """Problems with root files other than package.json that cannot be parsed: tsconfig.json and the lock file."""
    for path in TYPESCRIPT_SETTINGS:
        if (error := describe(path, files.get(path, b"{}"), jsonc=True)) is not None:
            yield Problem("install", error.report, path, error.line, error.column, code="broken-file")
    if lock is None:
        return
    error = (describe if lock in NPM_LOCKS else conflict)(lock, files[lock])
    if error is not None:
        message = f"{error.report}\nThe versions in it cannot be used"
        yield Problem("install", message, lock, error.line, error.column, level="warning", code="broken-file")


def _linker_note(manager: Manager, files: Files) -> Iterator[Problem]:
    if manager == "yarn-berry" and uses_plug_and_play(files.get(".yarnrc.yml", b"")):
        yield Problem(
            "install",
            "yarn's Plug'n'Play is not used here: the packages of yarn.lock are installed into node_modules instead, "
            "as with nodeLinker: node-modules in .yarnrc.yml",
            ".yarnrc.yml" if ".yarnrc.yml" in files else None,
            level="warning",
            code="node-linker",
        )


def _ignored_members(manager: Manager, manifest: Mapping[str, Any], files: Files) -> Iterator[Problem]:
    """Warnings of the workspace members that yarn 1 leaves out of the installation without failing."""
    if manager != "yarn":
        return
    patterns = [posixpath.normpath(pattern) for pattern in _member_patterns(manifest)]
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        is_member = any(
            fnmatchcase(folder, pattern) and folder.count("/") == pattern.count("/") for pattern in patterns
        )
        if name == MANIFEST and is_member and b'"version"' not in files[path]:
            message = (
                f"yarn 1 ignores the workspace {folder} and does not install its packages, because its package.json has"
                ' no version: add "version": "0.0.0"'
            )
            yield Problem("install", message, path, level="warning", code="package-manager")


def _member_patterns(manifest: Mapping[str, Any]) -> list[str]:
    """The folders of the workspace's members as package.json names them, such as `packages/*`."""
    members = manifest.get("workspaces", [])
    if isinstance(members, dict):
        members = members.get("packages", [])
    return [member for member in members if isinstance(member, str)] if isinstance(members, list) else []


def _local_paths(manifest: Mapping[str, Any], specs: Mapping[str, str], *, members_are_listed: bool) -> Iterator[str]:
    """The paths in the workspace from which packages are installed. An empty path stands for the whole workspace."""
    if members_are_listed:
        yield ""
    patterns = _member_patterns(manifest)
    paths = [pattern.partition("*")[0].rpartition("/")[0] if "*" in pattern else pattern for pattern in patterns]
    resolutions = manifest.get("resolutions")
    all_specs = [*specs.values(), *(resolutions.values() if isinstance(resolutions, dict) else [])]
    asked = [spec for spec in all_specs if isinstance(spec, str)]
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


def _is_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(not folder or path == folder or path.startswith(f"{folder}/") for folder in folders)


def is_install_input(wanted: WantedPackages, path: str) -> bool:
    """Whether an installation reads `path`; such a file has to be written before the installation starts."""
    if concerns(path):
        return "/" not in path or _is_in(path, wanted.local_paths)
    return _is_in(path, tuple(folder for folder in wanted.local_paths if folder))
