"""Chooses the package manager and its version from the app's files. Pure.

The lock file names the manager, and the text of yarn.lock tells yarn 1 from later versions. `packageManager`, or else
`devEngines.packageManager`, decides between several lock files and names the version. The image contains one version of
each manager (BUNDLED). Another one is fetched only if its major version differs, because lock files and defaults change
with those.

What must not live here: how a manager is called (managers.py), and fetching one (toolbox.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from agent.package_files import LOCKS, NPM_LOCKS
from agent.packages import semver

Manager = Literal["npm", "pnpm", "yarn", "yarn-berry", "bun"]

BUNDLED: Final[Mapping[Manager, tuple[int, int, int]]] = {
    "pnpm": (10, 34, 8),
    "yarn": (1, 22, 22),
    "yarn-berry": (4, 18, 1),
    "bun": (1, 4, 5),
}
"""The versions in the image. A test compares them with runtime/installers/package.json."""

_PACKAGES: Final[Mapping[Manager, str]] = {"yarn-berry": "@yarnpkg/cli-dist"}
"""The npm package of a manager, if it has another name."""

_MODERN_YARN: Final = 2
_OLDEST_MAJOR: Final[Mapping[Manager, int]] = {"pnpm": 7}
"""The oldest major version that runs on current Node.js. Instead of an older one, the image's own is used."""
_PNPM_LOCK: Final = re.compile(rb"^lockfileVersion: *['\"]?(\d+)", re.MULTILINE)
_PNPM_OF_LOCK: Final = {5: 7, 6: 8}
"""Major version of the lock file's format → of the last pnpm that writes it. pnpm 9 and later read later formats."""
_SPEC: Final = re.compile(r"[\w.^~<>=|* -]{1,64}")
_NAME_CHARACTERS: Final = 214


@dataclass(frozen=True, slots=True)
class ManagerVersion:
    manager: Manager
    spec: str | None = None
    """The npm package and version to fetch (`pnpm@9.15.9`); None if the image's own is used."""
    asked: str | None = None
    """The version that the app names, for messages."""


@dataclass(frozen=True, slots=True)
class ManagerChoice:
    tool: ManagerVersion
    lock: str | None
    """The lock file that the manager reads."""
    notes: tuple[str, ...] = ()
    """Warnings about the choice."""


def choose_manager(manifest: Mapping[str, Any], files: Mapping[str, bytes], locks: list[str]) -> ManagerChoice:
    """`locks`: the lock files to consider, in the order of LOCKS. `files`: their content, and yarn's settings."""
    named, asked = _named_manager(manifest)
    lock = next((lock for lock in locks if LOCKS[lock] == named), locks[0] if locks else None)
    family = LOCKS[lock] if lock else named if named in {"npm", "pnpm", "yarn", "bun"} else "npm"
    notes = []
    if len({LOCKS[other] for other in locks}) > 1:
        notes.append(f"there are several lock files ({', '.join(locks)}): {lock} is used; delete the others")
    elif lock and named in set(LOCKS.values()) - {family}:
        notes.append(f"packageManager names {named}, but the lock file is {lock}: {family} installs the packages")
    elif named and family == "npm" and named != "npm":
        notes.append(f"packageManager names {_shortened(named)}, which is not supported: npm installs the packages")
    if named != family:
        asked = None
    match family:
        case "pnpm":
            tool = _choose_pnpm(manifest, asked, files.get(lock or ""))
        case "yarn":
            tool = _choose_yarn(asked, files)
        case "bun":
            tool = ManagerVersion("bun", None, asked)
        case _:
            tool = ManagerVersion("npm", None, asked)
            lock = next((own for own in locks if own in NPM_LOCKS), None)
    return ManagerChoice(tool, lock, tuple(notes))


def npm_package(manager: Manager, spec: str | None = None) -> str:
    """The npm package and version of a manager. Without `spec`, the version in the image."""
    return f"{_PACKAGES.get(manager, manager)}@{spec or '.'.join(map(str, BUNDLED[manager]))}"


def _named_manager(manifest: Mapping[str, Any]) -> tuple[str, str | None]:
    """The manager that package.json names, and its version or range without corepack's hash behind `+`."""
    asked = manifest.get("packageManager")
    if isinstance(asked, str) and asked:
        name, _, wanted = asked.strip().partition("@")
        return name, _valid_range(wanted.partition("+")[0])
    engines = manifest.get("devEngines")
    choices = engines.get("packageManager") if isinstance(engines, dict) else None
    for choice in choices if isinstance(choices, list) else [choices]:
        if isinstance(choice, dict) and isinstance(choice.get("name"), str):
            return choice["name"], _valid_range(choice.get("version"))
    return "", None


def _valid_range(wanted: object) -> str | None:
    """`wanted` if it is a version or range that is safe as part of one argument of npm."""
    return wanted if isinstance(wanted, str) and wanted and _SPEC.fullmatch(wanted) else None


def _choose_pnpm(manifest: Mapping[str, Any], asked: str | None, lock: bytes | None) -> ManagerVersion:
    engines = manifest.get("engines")
    if asked is None and isinstance(engines, dict) and (ranged := _valid_range(engines.get("pnpm"))):
        # pnpm refuses to run if its own version is outside of this range.
        asked = None if semver.satisfies(BUNDLED["pnpm"], ranged) is not False else ranged
    if asked is None and lock is not None and (found := _PNPM_LOCK.search(lock[:4096])):
        older = _PNPM_OF_LOCK.get(int(found[1]))
        asked = str(older) if older else None
    return _version_to_run("pnpm", asked)


def _choose_yarn(asked: str | None, files: Mapping[str, bytes]) -> ManagerVersion:
    lock = files.get("yarn.lock", b"")
    if b"__metadata:" in lock:
        modern = True
    elif b"# yarn lockfile v1" in lock:
        modern = False
    else:
        modern = (semver.major(asked) or 1) >= _MODERN_YARN if asked else ".yarnrc.yml" in files
    if asked and ((semver.major(asked) or 1) >= _MODERN_YARN) != modern:
        asked = None  # the lock file decides, because the other yarn would rewrite all of it
    if not modern:
        return ManagerVersion("yarn", None, asked)
    has_own_release = re.search(rb"^yarnPath:", files.get(".yarnrc.yml", b""), re.MULTILINE) is not None
    return ManagerVersion("yarn-berry", None, asked) if has_own_release else _version_to_run("yarn-berry", asked)


def _version_to_run(manager: Manager, asked: str | None) -> ManagerVersion:
    wanted = semver.major(asked) if asked else None
    if wanted is not None and wanted < _OLDEST_MAJOR.get(manager, 0):
        return ManagerVersion(manager, None, asked)
    fits = wanted is None or wanted == BUNDLED[manager][0] or semver.satisfies(BUNDLED[manager], asked or "") is True
    return ManagerVersion(manager, None if fits else npm_package(manager, asked), asked)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"
