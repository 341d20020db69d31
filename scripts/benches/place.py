"""What every family measures in: folders that go away again, workspaces of the template, ports, the system's programs.

Invariant: everything lies in one folder below .preview/, on the filesystem of the template's packages, and is gone when
the block of `open_bench` has ended.
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
"""A DEV_COMMAND that answers like a dev server and costs nothing, where Next itself is not what is measured."""


class Absent(Exception):
    """Something that a row is compared with is not on this machine. The message says what to do."""


@dataclass
class Bench:
    """`quick`: fewer samples, to see that it works."""

    home: Path
    quick: bool
    began: float = field(default_factory=time.monotonic)
    _ports: set[int] = field(default_factory=set)

    def either(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.home))

    def port(self) -> int:
        """A port that nobody held a moment ago, never the same one twice."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                number: int = probe.getsockname()[1]
            if number not in self._ports:
                self._ports.add(number)
                return number

    def workspace(self, files: Mapping[str, str]) -> Path:
        """A Next.js project: the template, its packages as hard links, and `files` over it."""
        place = self.folder() / "workspace"
        make_project(place, template_modules())
        write(place, files)
        return place


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


def program(name: str, package: str) -> str:
    """The path of a program; as root it is installed where it is missing. Raises Absent."""
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
    # What is only compared with shall not be started as a service.
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
