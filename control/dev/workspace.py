"""The folder that keeps everything of one preview between two starts: .preview/<name>-<hash>/.

It contains the workspace (the template, its packages, and the app's files as the agent writes them), the agent's state,
the control plane's database, the key that both share, and the logs. All of it can be deleted at any time: the next
start creates it again.

Invariant: workspace and state are created together. When the template has changed, both are created again.
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


class CannotPreview(Exception):
    """The folder cannot be previewed now. Only the message is shown, without a traceback."""


@dataclass(frozen=True, slots=True)
class PreviewFolder:
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

    def write_address(self, address: str) -> None:
        """Write the address to a file, for the message of a second start of the same folder."""
        _address(self.home).write_text(f"{address} (process {os.getpid()})")


@contextmanager
def open_preview_folder(folder: Path) -> Iterator[PreviewFolder]:
    """Prepare everything that `folder` needs, and lock it against a second start until the block ends."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise CannotPreview(f"there is no folder {folder}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-")[:40] or "app"
    home = CACHE / f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotPreview(f"{folder} is already being previewed{_where(home)}") from None
        _address(home).unlink(missing_ok=True)
        place = PreviewFolder(name, home)
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


def _make_workspace(place: PreviewFolder) -> None:
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
    """Create a Next.js project from the template, with hard links to the packages in `modules`."""
    shutil.copytree(TEMPLATE, at, ignore=NOT_SOURCE)
    # Hard links take 2 s, copies 20 s. The folder itself has to be a real one, because Turbopack does not follow
    # node_modules out of the project.
    shutil.copytree(modules, at / "node_modules", symlinks=True, copy_function=_link_or_copy)
    # Tailwind reads the ignore rules of the closest git repository to find out what to scan. Without one here, that is
    # the repository around the project; if that one ignores it, as ours does, Tailwind needs 0.5 s more per edit.
    # It is a valid repository, because install scripts of the app (husky, lefthook) write hooks into the repository
    # that they find.
    for folder in ("objects", "refs"):
        (at / ".git" / folder).mkdir(parents=True)
    (at / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def _link_or_copy(source: str, target: str) -> None:
    """Link, or copy if that fails. npm replaces every file except its own record, which it writes in place."""
    if not source.endswith("/node_modules/.package-lock.json"):
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _fingerprint(folder: Path) -> str:
    """Return a hash of the names and bytes of all source files in `folder`."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = set(path.relative_to(folder).parts)
        if path.is_file() and not parts & {"node_modules", ".next", "next-env.d.ts"}:
            whole.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def installers_path() -> str:
    """Return the folder with the package managers of the image, which scripts/setup.py installed."""
    lock = (INSTALLERS / "package-lock.json").read_bytes()
    return str(CACHE / "installers" / hashlib.sha256(lock).hexdigest()[:16] / "bin")


def template_modules() -> Path:
    lock = hashlib.sha256((TEMPLATE / "package-lock.json").read_bytes()).hexdigest()[:16]
    modules = CACHE / "modules" / lock / "node_modules"
    if not modules.is_dir():
        raise CannotPreview("the template's packages are not installed: run scripts/dev, which installs them")
    return modules
