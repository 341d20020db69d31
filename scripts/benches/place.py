"""The environment of all measurements: temporary folders, workspaces, ports, programs of the system.

Invariant: everything is in one folder below .preview/, on the filesystem of the template's packages, and is removed
when the block of `open_bench` ends.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from control.dev.workspace import CACHE, make_project, template_modules
from scripts import setup
from tests.peers.dev_server import ODD_SERVER

STAND_IN = shlex.join([sys.executable, "-S", "-E", str(ODD_SERVER)]) + " {port}"
"""A DEV_COMMAND that answers like a dev server and costs nothing, for measurements without Next."""


class Absent(Exception):
    """A program that a row is compared with is missing on this machine. The message says how to install it."""


@dataclass
class Bench:
    home: Path
    quick: bool
    """Take fewer samples, to see that the benches work."""
    began: float = field(default_factory=time.monotonic)
    _ports: set[int] = field(default_factory=set)

    def either(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.home))

    def port(self) -> int:
        """Return a port that was free a moment ago, a different one each time."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                number: int = probe.getsockname()[1]
            if number not in self._ports:
                self._ports.add(number)
                return number

    def workspace(self, files: Mapping[str, str]) -> Path:
        """Create a Next.js project: the template, its packages as hard links, and `files`."""
        place = self.folder() / "workspace"
        make_project(place, template_modules())
        write(place, files)
        return place


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


def program(name: str, package: str) -> str:
    """Return the path of a program. As root, install it if it is missing. Raise Absent."""
    found = _found(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(package)
        found = _found(name)
    if found is None:
        raise Absent(f"{name} is not installed (on Debian and Ubuntu: apt-get install {package})")
    return found


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def _install(package: str) -> None:
    # Debian must not start the program as a service.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1", "RUNLEVEL": "1"}
    try:
        setup.run("reading the package lists", "apt-get", "update", env=quiet)
        setup.run(f"installing {package}", "apt-get", "install", "-y", "--no-install-recommends", package, env=quiet)
    except setup.Missing as missing:
        raise Absent(f"{package} could not be installed: {str(missing).splitlines()[-1]}") from None


@contextmanager
def open_bench(*, quick: bool) -> Iterator[Bench]:
    CACHE.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=CACHE))
    try:
        yield Bench(home, quick)
    finally:
        shutil.rmtree(home, ignore_errors=True)  # a killed dev server may still be writing its cache
