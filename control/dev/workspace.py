"""What one previewed folder keeps between two starts: .preview/<name>-<hash>/.

It holds the workspace (the template, its packages, then the app's files as the agent writes them), the agent's state,
the control plane's database, the key both share, and the logs. All of it can be deleted at any time: the next start
makes it again, only slower.

Invariant: workspace and state are of one age. When the template changed, both are made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "runtime" / "next-template"
INSTALLERS = ROOT / "runtime" / "installers"
CACHE = ROOT / ".preview"

NOT_SOURCE = shutil.ignore_patterns("node_modules", ".next", "next-env.d.ts")


class Unusable(Exception):
    """The folder cannot be previewed now; the message says why and is all that is shown."""


@dataclass(frozen=True, slots=True)
class Place:
    app_id: str
    home: Path

    @property
    def workspace(self) -> Path:
        return self.home / "workspace"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def database(self) -> Path:
        return self.home / "control.db"

    @property
    def key_file(self) -> Path:
        return self.home / "key"

    def say_address(self, address: str) -> None:
        """Leave word for a second start of the same folder."""
        _address(self.home).write_text(f"{address} (process {os.getpid()})")


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Everything `folder` needs, ready to run on, and held against a second start until the block ends."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise Unusable(f"there is no folder {folder}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-")[:40] or "app"
    home = CACHE / f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(f"{folder} is being previewed already{_where(home)}") from None
        _address(home).unlink(missing_ok=True)
        place = Place(name, home)
        _make_key(place.key_file)
        _make_workspace(place)
        yield place


def _address(home: Path) -> Path:
    return home / "address"


def _where(home: Path) -> str:
    try:
        return f": {_address(home).read_text()}"
    except OSError:
        return ", by another scripts/dev that is about to start"


def _make_key(path: Path) -> None:
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))


def _make_workspace(place: Place) -> None:
    made_of = place.home / "made-of"
    template = _fingerprint(TEMPLATE)
    if made_of.is_file() and made_of.read_text() == template:
        return
    modules = template_modules()
    made_of.unlink(missing_ok=True)
    for old in (place.workspace, place.state):
        shutil.rmtree(old, ignore_errors=True)
    make_project(place.workspace, modules)
    place.state.mkdir()
    made_of.write_text(template)


def make_project(at: Path, modules: Path) -> None:
    """A new Next.js project: the template's files, and its packages as links to those of `modules`."""
    shutil.copytree(TEMPLATE, at, ignore=NOT_SOURCE)
    # Links instead of copies: 2 s instead of 20 s. Turbopack does not follow node_modules out of the project, so
    # that the folder itself has to be a real one.
    shutil.copytree(modules, at / "node_modules", symlinks=True, copy_function=_link_or_copy)
    # Tailwind asks git's rules what to scan, up to the first .git above. Without one here that is whatever repository
    # the project lies in; where that one ignores it, as ours does, each edit costs Tailwind half a second.
    # A whole one, as git sees it: an app's own install scripts (husky, lefthook) write their hooks into the repository
    # that they find, and without this one they would find the one around.
    for folder in ("objects", "refs"):
        (at / ".git" / folder).mkdir(parents=True)
    (at / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def _link_or_copy(source: str, target: str) -> None:
    """A link where it can be. All files are replaced by npm but its own record, which it writes in place."""
    if not source.endswith("/node_modules/.package-lock.json"):
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _fingerprint(folder: Path) -> str:
    """One text for the names and bytes of all sources in `folder`."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = set(path.relative_to(folder).parts)
        if path.is_file() and not parts & {"node_modules", ".next", "next-env.d.ts"}:
            whole.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def installers_path() -> str:
    """The folder with the package managers that the image carries, as scripts/setup.py made it."""
    lock = (INSTALLERS / "package-lock.json").read_bytes()
    return str(CACHE / "installers" / hashlib.sha256(lock).hexdigest()[:16] / "bin")


def template_modules() -> Path:
    lock = hashlib.sha256((TEMPLATE / "package-lock.json").read_bytes()).hexdigest()[:16]
    modules = CACHE / "modules" / lock / "node_modules"
    if not modules.is_dir():
        raise Unusable("the template's packages are not installed: start with scripts/dev, which does it")
    return modules
