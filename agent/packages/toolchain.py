"""The package manager that an app's own files name, and the version of it. Pure.

A lock file names the manager, and the text of yarn.lock tells yarn 1 from its successors. `packageManager`, or else
`devEngines.packageManager`, decides between several lock files and names the version. The image carries one version of
each manager (CARRIED). Another one is fetched only where its major version differs, because that is where lock files
and defaults differ.

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

CARRIED: Final[Mapping[Manager, tuple[int, int, int]]] = {
    "pnpm": (10, 34, 8),
    "yarn": (1, 22, 22),
    "yarn-berry": (4, 18, 1),
    "bun": (1, 4, 5),
}
"""runtime/installers/package.json, which a test compares with this."""

_PACKAGES: Final[Mapping[Manager, str]] = {"yarn-berry": "@yarnpkg/cli-dist"}
"""The npm package of a manager, where its name is another."""

_MODERN_YARN: Final = 2
_OLDEST: Final[Mapping[Manager, int]] = {"pnpm": 7}
"""The oldest major that runs on today's Node.js; instead of an older one the image's own is used."""
_PNPM_LOCK: Final = re.compile(rb"^lockfileVersion: *['\"]?(\d+)", re.MULTILINE)
_PNPM_OF_LOCK: Final = {5: 7, 6: 8}
"""Major of the lock file's format → major of the last pnpm that writes it; later formats are read by pnpm 9 and up."""
_SPEC: Final = re.compile(r"[\w.^~<>=|* -]{1,64}")
_NAME_CHARACTERS: Final = 214


@dataclass(frozen=True, slots=True)
class Tool:
    """`spec`: the npm package and version to fetch where the image's own does not do (`pnpm@9.15.9`); None: it does.

    `asked`: the version that the app names, for messages.
    """

    manager: Manager
    spec: str | None = None
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """`lock`: the lock file that the manager reads. `notes`: what there is to say about the choice."""

    tool: Tool
    lock: str | None
    notes: tuple[str, ...] = ()


def choose(manifest: Mapping[str, Any], files: Mapping[str, bytes], locks: list[str]) -> Choice:
    """`locks`: the lock files that count, in the order of LOCKS; `files`: their bytes, and yarn's settings."""
    named, asked = _named(manifest)
    lock = next((lock for lock in locks if LOCKS[lock] == named), locks[0] if locks else None)
    family = LOCKS[lock] if lock else named if named in {"npm", "pnpm", "yarn", "bun"} else "npm"
    notes = []
    if len({LOCKS[other] for other in locks}) > 1:
        notes.append(f"there are several lock files ({', '.join(locks)}): {lock} is used; delete the others")
    elif lock and named in set(LOCKS.values()) - {family}:
        notes.append(f"packageManager names {named}, but the lock file is {lock}: {family} installs the packages")
    elif named and family == "npm" and named != "npm":
        notes.append(f"packageManager names {_short(named)}, which is not known here: npm installs the packages")
    if named != family:
        asked = None
    match family:
        case "pnpm":
            tool = _pnpm(manifest, asked, files.get(lock or ""))
        case "yarn":
            tool = _yarn(asked, files)
        case "bun":
            tool = Tool("bun", None, asked)
        case _:
            tool = Tool("npm", None, asked)
            lock = next((own for own in locks if own in NPM_LOCKS), None)
    return Choice(tool, lock, tuple(notes))


def package(manager: Manager, spec: str | None = None) -> str:
    """The npm package of a manager with a version: the one that the image carries, unless `spec` says another."""
    return f"{_PACKAGES.get(manager, manager)}@{spec or '.'.join(map(str, CARRIED[manager]))}"


def _named(manifest: Mapping[str, Any]) -> tuple[str, str | None]:
    """The manager that package.json names, and its version or range. A hash behind `+` is corepack's, not npm's."""
    asked = manifest.get("packageManager")
    if isinstance(asked, str) and asked:
        name, _, wanted = asked.strip().partition("@")
        return name, _clean(wanted.partition("+")[0])
    engines = manifest.get("devEngines")
    choices = engines.get("packageManager") if isinstance(engines, dict) else None
    for choice in choices if isinstance(choices, list) else [choices]:
        if isinstance(choice, dict) and isinstance(choice.get("name"), str):
            return choice["name"], _clean(choice.get("version"))
    return "", None


def _clean(wanted: object) -> str | None:
    """A version or range that npm may be given as part of one argument."""
    return wanted if isinstance(wanted, str) and wanted and _SPEC.fullmatch(wanted) else None


def _pnpm(manifest: Mapping[str, Any], asked: str | None, lock: bytes | None) -> Tool:
    engines = manifest.get("engines")
    if asked is None and isinstance(engines, dict) and (ranged := _clean(engines.get("pnpm"))):
        # pnpm refuses to run where its own version is out of this range.
        asked = None if semver.satisfies(CARRIED["pnpm"], ranged) is not False else ranged
    if asked is None and lock is not None and (found := _PNPM_LOCK.search(lock[:4096])):
        older = _PNPM_OF_LOCK.get(int(found[1]))
        asked = str(older) if older else None
    return _tool("pnpm", asked)


def _yarn(asked: str | None, files: Mapping[str, bytes]) -> Tool:
    lock = files.get("yarn.lock", b"")
    if b"__metadata:" in lock:
        modern = True
    elif b"# yarn lockfile v1" in lock:
        modern = False
    else:
        modern = (semver.major(asked) or 1) >= _MODERN_YARN if asked else ".yarnrc.yml" in files
    if asked and ((semver.major(asked) or 1) >= _MODERN_YARN) != modern:
        asked = None  # the lock file is what exists; the other yarn would write all of it anew
    if not modern:
        return Tool("yarn", None, asked)
    brings_its_own = re.search(rb"^yarnPath:", files.get(".yarnrc.yml", b""), re.MULTILINE) is not None
    return Tool("yarn-berry", None, asked) if brings_its_own else _tool("yarn-berry", asked)


def _tool(manager: Manager, asked: str | None) -> Tool:
    wanted = semver.major(asked) if asked else None
    if wanted is not None and wanted < _OLDEST.get(manager, 0):
        return Tool(manager, None, asked)
    fits = wanted is None or wanted == CARRIED[manager][0] or semver.satisfies(CARRIED[manager], asked or "") is True
    return Tool(manager, None if fits else package(manager, asked), asked)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"
