"""package.json and the lock files → which packages are wanted, and what a change of them asks for. Pure.

`read` makes a Wanted of the files' bytes. Its digest stands for everything that an installer would act on and for
nothing else: order and whitespace of package.json, its name, version and scripts do not count. What was installed is
remembered by that digest; where nobody remembers, `adopted` recognises a tree that npm made from the same lock file.

What must not live here: how a package manager is called (managers.py), and the disk (modules.py).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from agent.package_files import LOCKS, MANIFEST, NPM_LOCKS, SETTINGS, concerns
from agent.status import Problem

Manager = Literal["npm", "pnpm", "bun"]
Files = Mapping[str, bytes]
"""Path relative to the workspace → bytes."""

LOADED = ("next", "react", "react-dom", "vite", "astro")
"""What a running dev server has loaded, and keeps when another version takes its place on the disk."""

_SPECS = (
    "peerDependencies",
    "optionalDependencies",
    "devDependencies",
    "dependencies",
)  # the last one to say it counts
_SECTIONS = (
    *_SPECS,
    "peerDependenciesMeta",
    "dependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "overrides",
    "resolutions",
    "packageManager",
    "workspaces",
    "pnpm",
    "allowScripts",
    "trustedDependencies",
    "patchedDependencies",
    "catalog",
    "catalogs",
)
_NAME_CHARACTERS = 214  # npm's own limit
_OWN_SCRIPTS = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare")
_LOCAL = re.compile(r"(?:file|link|portal):(?P<path>.+)|(?P<bare>\.{1,2}/.+)")
_NAME = re.compile(r"(?:@[A-Za-z0-9~_][\w.~-]*/)?[A-Za-z0-9~_][\w.~-]*")
_ELSEWHERE = re.compile(r"(?:file|link|portal|workspace|catalog):|\.{0,2}/")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`specs`: package → what package.json asks of it. `locals`: paths in the workspace that are packages or patches
    themselves. `own_scripts`: the app has scripts that run after each install, and may read any file of its own.
    `notes`: what its owner should know, though it does not stand in the way.
    """

    digest: str
    manager: Manager
    specs: Mapping[str, str]
    locals: tuple[str, ...] = ()
    own_scripts: bool = False
    notes: tuple[Problem, ...] = ()

    @property
    def nothing(self) -> bool:
        return not self.specs and not self.locals


class Broken(Exception):
    """package.json cannot be used; `problem` says where and why."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.problem = Problem("install", message, MANIFEST, line, column)


def read(files: Files, managed: AbstractSet[str], on_path: Callable[[str], bool]) -> Wanted | None:
    """What `files` (all that `concerns` holds of) ask for; None without a package.json. Raises Broken.

    `managed`: which of them are the app's own. A lock file that only the template left behind counts where the app has
    none. `on_path`: whether a program can be run.
    """
    if MANIFEST not in files:
        return None
    said = _parse(files[MANIFEST])
    specs = _specs(said)
    locks = [lock for lock in LOCKS if lock in files]
    locks = [lock for lock in locks if lock in managed] or locks
    manager, lock, notes = _choose(said.get("packageManager"), locks, on_path)
    locals_ = tuple(_locals(said, specs, members_are_listed="pnpm-workspace.yaml" in files))
    read_too = [*SETTINGS, *([lock] if lock else [])]
    read_too += sorted(path for path in files if path != MANIFEST and _is_in(path, locals_) and concerns(path))
    asked = {
        "manager": manager,
        "sections": {name: said[name] for name in _SECTIONS if name in said},
        "files": {path: hashlib.sha256(files[path]).hexdigest() for path in read_too if path in files},
    }
    digest = hashlib.sha256(_written(asked)).hexdigest()
    scripts = said.get("scripts")
    own_scripts = isinstance(scripts, dict) and any(name in scripts for name in _OWN_SCRIPTS)
    return Wanted(digest, manager, specs, locals_, own_scripts, tuple(Problem("install", note) for note in notes))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Broken(f"package.json is not JSON: {error.msg}", error.lineno, error.colno) from None
    if not isinstance(said, dict):
        raise Broken(f"package.json holds {_kind(said)} (it takes an object)", 1, 1)
    return said


def _written(asked: Mapping[str, Any]) -> bytes:
    """The same bytes for the same wants. What can be read may still lie deeper than can be written."""
    try:
        return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise Broken("package.json is nested too deeply (it takes objects of up to 250 levels)") from None


def _specs(said: Mapping[str, Any]) -> dict[str, str]:
    specs: dict[str, str] = {}
    for section in _SPECS:
        asked = said.get(section, {})
        if not isinstance(asked, dict):
            raise Broken(
                f"{section} in package.json is {_kind(asked)} (it takes an object of package names and versions)"
            )
        for name, spec in asked.items():
            if not isinstance(spec, str):
                where = f"{section}.{_short(name)} in package.json"
                raise Broken(f"{where} is {_kind(spec)} (it takes a version as a string)")
            specs[name] = spec
    return specs


def _choose(asked: object, locks: list[str], on_path: Callable[[str], bool]) -> tuple[Manager, str | None, list[str]]:
    """The manager, the lock file that it reads, and what there is to say about the choice."""
    notes = []
    named = asked.partition("@")[0] if isinstance(asked, str) else ""
    lock = next((lock for lock in locks if LOCKS[lock] == named), locks[0] if locks else None)
    if len({LOCKS[other] for other in locks}) > 1:
        notes.append(f"there are several lock files ({', '.join(locks)}): {lock} is used; delete the others")
    wanted = LOCKS[lock] if lock else named or "npm"
    if wanted in {"npm", "pnpm", "bun"} and (wanted == "npm" or on_path(wanted)):
        manager: Manager = wanted  # type: ignore[assignment]  # one of the three
        return manager, lock, notes
    why = "yarn is not used here" if wanted == "yarn" else f"{_short(wanted)} is not on PATH of this machine"
    unread = f", and does not read {lock}" if lock else ""
    notes.append(f"{why}: npm installs the packages instead{unread}")
    return "npm", next((own for own in locks if own in NPM_LOCKS), None), notes


def _locals(said: Mapping[str, Any], specs: Mapping[str, str], *, members_are_listed: bool) -> Iterator[str]:
    """The paths whose packages are the app's own. The empty path: anywhere."""
    if members_are_listed:
        yield ""
    members = said.get("workspaces", [])
    if isinstance(members, dict):
        members = members.get("packages", [])
    patterns = [member for member in members if isinstance(member, str)] if isinstance(members, list) else []
    paths = [pattern.partition("*")[0].rpartition("/")[0] if "*" in pattern else pattern for pattern in patterns]
    paths += [found["path"] or found["bare"] for spec in specs.values() if (found := _LOCAL.fullmatch(spec))]
    pnpm = said.get("pnpm")
    for patched in (
        said.get("patchedDependencies"),
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


@dataclass(frozen=True, slots=True)
class Course:
    """How an installation goes together with the files that come with it.

    `ahead`: install before the sources are moved in, so that no new import is ever without its package. `keep`: what
    is not wanted any more and stays until the sources that import it are gone. `behind`: install after them. `gone`:
    the packages that package.json names no more.
    """

    ahead: bool
    behind: bool
    keep: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def course(before: Wanted | None, after: Wanted, *, is_new: bool) -> Course:
    """`before` is what package.json asked for until now, None where nobody knows. `is_new`: there is no tree to keep
    working, and no server that could show an error in between.
    """
    if is_new or before is None:
        return Course(ahead=False, behind=True)
    gone = {name: spec for name, spec in before.specs.items() if name not in after.specs}
    stayed = {name: spec for name, spec in before.specs.items() if name in after.specs}
    names = tuple(sorted(name for name in gone if _NAME.fullmatch(name)))
    if gone and stayed == after.specs:
        return Course(ahead=False, behind=True, gone=names)
    keep = tuple(f"{name}@{gone[name]}" for name in names if not _ELSEWHERE.match(gone[name]))
    return Course(ahead=True, behind=bool(gone) or after.own_scripts, keep=keep, gone=names)


def replaced(before: Wanted | None, after: Wanted) -> tuple[str, ...]:
    """The packages of LOADED of which another version is asked for."""
    return tuple(name for name in LOADED if before and before.specs.get(name) != after.specs.get(name))


def adopted(files: Files, managed: AbstractSet[str], hidden: bytes, is_installed: Callable[[str, str], bool]) -> bool:
    """Whether npm already made node_modules of this package.json and its npm lock file, as npm's own record in it
    (`hidden`) tells. Unsure is no: an installation that was not needed costs a second.

    `is_installed(name, version)` looks at one package's own package.json.
    """
    locks = [lock for lock in LOCKS if lock in files]
    locks = [lock for lock in locks if lock in managed] or locks
    if not locks or locks[0] not in NPM_LOCKS:
        return False
    try:
        said, lock = _parse(files[MANIFEST]), orjson.loads(files[locks[0]])
        wanted, there = dict(lock["packages"]), orjson.loads(hidden)["packages"]
        root = wanted.pop("")
        if any(said.get(section, {}) != root.get(section, {}) for section in (*_SPECS, "workspaces")):
            return False
        if any(_version(wanted.get(path)) != _version(package) for path, package in there.items()):
            return False
        if any(not package.get("optional") for path, package in wanted.items() if path not in there):
            return False  # an optional one may be for another system
        direct = {name: f"node_modules/{name}" for name in _specs(said)}
        if not wanted.keys() >= set(direct.values()):
            return False
    except (Broken, ValueError, LookupError, TypeError, AttributeError):
        return False
    return all(is_installed(name, str(there[path]["version"])) for name, path in direct.items() if path in there)


def _version(package: Any) -> tuple[object, ...]:
    if package is None or package.get("link"):
        raise ValueError  # it is no package of the lock file, or not one of a registry
    return package["version"], package.get("integrity")


def _short(name: str) -> str:
    """For people: a name may be as long as a file."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
