"""Makes the apps' files: by their generators, or from tests/apps, and once for each state of what they are made of.

Everything lies in .preview/apps-cache/: `made/NAME-HASH` is an app's files with its lock file, `tools/` the package
managers, `primed/` one mark for each set of packages that npm's cache holds already, so that neither side of the
comparison pays for the network. The whole folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from control.dev.workspace import CACHE, ROOT
from scripts.apptable import folders, managers, programs
from scripts.apptable.folders import Files
from scripts.apptable.generators import GENERATED, Generated, without_google_fonts
from scripts.apptable.rows import Row, from_json

HOME = CACHE / "apps-cache"
OWN = ROOT / "tests" / "apps"
BIN = "node_modules/.bin"
TARBALLS = "tarballs"
"""A folder of an own app whose folders are packed into vendor/NAME-VERSION.tgz, as npm pack does."""
MAKE_SECONDS = 240.0
LAYOUT = "2"
"""Changes when apps are made in another way, so that none of the old ones is used."""


@dataclass(frozen=True, slots=True)
class App:
    row: Row
    files: Files


def rows() -> list[Row]:
    """All rows, the generated ones first."""
    own = [from_json(path.parent.name, json.loads(path.read_bytes())) for path in sorted(OWN.glob("*/expect.json"))]
    return [made.row for made in GENERATED] + own


async def app(row: Row) -> App:
    """The row's files, from the cache or made now. Raises programs.Failed."""
    generated = next((made for made in GENERATED if made.row.name == row.name), None)
    sources = {} if generated else own_files(OWN / row.name)
    key = _key(row, generated, sources)
    place = HOME / "made" / f"{row.name}-{key}"
    if not place.is_dir():
        partial = Path(tempfile.mkdtemp(dir=_folder("making")))
        await _make(row, generated, sources, partial)
        _moved(partial / row.name, place)
        shutil.rmtree(partial)
    return App(row, folders.read(place))


def _moved(made: Path, place: Path) -> None:
    """Into place in one step, so that another scripts/apps at the same time sees all of it or nothing."""
    place.parent.mkdir(exist_ok=True)
    with suppress(OSError):  # the other one was faster, and made the same
        made.rename(place)


def own_files(folder: Path) -> Files:
    files = {path: content for path, content in folders.read(folder).items() if path != "expect.json"}
    packages: dict[str, Files] = {}
    for path in [path for path in files if path.startswith(f"{TARBALLS}/")]:
        _, name, member = path.split("/", 2)
        packages.setdefault(name, {})[member] = files.pop(path)
    for name, members in packages.items():
        version = json.loads(members["package.json"])["version"]
        files[f"vendor/{name}-{version}.tgz"] = folders.tarball(members)
    return files


def _key(row: Row, generated: Generated | None, sources: Files) -> str:
    whole = hashlib.sha256(f"{LAYOUT} {row.manager} {row.lock} {generated and generated.command}".encode())
    for path, content in sorted(sources.items()):
        whole.update(f"{path} {len(content)} ".encode() + content)
    return whole.hexdigest()[:12]


async def _make(row: Row, generated: Generated | None, sources: Files, partial: Path) -> None:
    folder, log = partial / row.name, partial / "log"
    environ = programs.environment(tools(row.manager))
    if generated:
        command = tuple(word.replace("{name}", row.name) for word in generated.command)
        await programs.run(command, partial, log, environ, MAKE_SECONDS)
        made = folders.texts(folders.read(folder))
        folders.write(folder, {path: new for path, old in made.items() if (new := without_google_fonts(old)) != old})
    else:
        folders.write(folder, sources)
    if row.lock:
        await programs.run(managers.lock(row.manager), folder, log, environ, MAKE_SECONDS)
    for left in ("node_modules", ".git", ".next", "next-env.d.ts", ".yarn/install-state.gz"):
        path = folder / left
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _folder(name: str) -> Path:
    path = HOME / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def tools(manager: str) -> str:
    """The folder of the manager's program, to be put before PATH; empty for npm."""
    return str(HOME / "tools" / manager / BIN) if managers.package(manager) else ""


async def install_tools(wanted: Iterable[str]) -> None:
    """Install the managers of `wanted` where they are not yet. Raises programs.Failed."""
    for manager in sorted(set(wanted)):
        if package := managers.package(manager):
            await _install_tool(manager, [package])


async def _install_tool(name: str, packages: list[str]) -> None:
    if (HOME / "tools" / name).is_dir():
        return
    partial = Path(tempfile.mkdtemp(dir=_folder("making")))
    command = ("npm", "install", "--prefix", str(partial), "--no-save", *packages)
    await programs.run(command, partial, partial / "log", programs.environment(), MAKE_SECONDS)
    _moved(partial, HOME / "tools" / name)


async def prime(made: App) -> None:
    """Have the manager's cache hold the app's packages. Raises programs.Failed."""
    mark = _folder("primed") / _packages_key(made)
    if mark.is_file():
        return
    place = Path(tempfile.mkdtemp(dir=_folder("making")))
    try:
        await install(made.row, made.files, place, place / "app")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    mark.touch()


def _packages_key(made: App) -> str:
    """One text for everything that decides which packages are fetched."""
    whole = hashlib.sha256(made.row.manager.encode())
    for path, content in sorted(made.files.items()):
        if PurePosixPath(path).name == "package.json":
            said = json.loads(content)
            wanted = [said.get(kind) for kind in ("dependencies", "devDependencies", "workspaces", "catalog")]
            whole.update(json.dumps(wanted, sort_keys=True).encode())
        elif "lock" in path or path.endswith((".yaml", ".tgz")):
            whole.update(content)
    return whole.hexdigest()[:16]


async def install(row: Row, files: Mapping[str, bytes], place: Path, folder: Path) -> None:
    """Write the app and install its packages, as a person does. Raises programs.Failed."""
    folders.write(folder, files)
    await install_in(row, place, folder)


async def install_in(row: Row, place: Path, folder: Path) -> None:
    """`place` is for the log."""
    command = row.install or managers.install(row.manager)
    await programs.run(command, folder, place / "install.log", programs.environment(tools(row.manager)), MAKE_SECONDS)
