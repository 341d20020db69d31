"""Packages to install without a registry, and an app whose packages are installed for real as its files come."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.clock import Clock
from agent.packages.installer import PackageInstaller
from agent.packages.run import Limits
from agent.process.output import LogTail
from agent.status import InstallFacts, Problem, Source
from scripts import setup
from tests.peers.backend_client import Client, Place, syncing
from tests.peers.backend_honest import HonestBackend

PATIENCE = 60.0


def package(
    folder: Path, name: str, version: str = "1.0.0", *, files: Mapping[str, bytes] | None = None, **said: Any
) -> str:
    """A tarball as a registry would send it; the value is what package.json asks for to get it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}.tgz"
    inside = {
        "package.json": json.dumps({"name": name, "version": version, **said}).encode(),
        "index.js": f"module.exports = {version!r};\n".encode(),
        **(files or {}),
    }
    with tarfile.open(path, "w:gz") as tar:
        for member, data in inside.items():
            info = tarfile.TarInfo(f"package/{member}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return f"file:{path}"


def manifest(dependencies: Mapping[str, str], **said: Any) -> bytes:
    return json.dumps({"name": "app", "private": True, "dependencies": dependencies, **said}).encode()


def program(folder: Path, name: str, script: str) -> str:
    """A program of this name that is found before any other; the value is a PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}"


def with_installers() -> str:
    """A PATH with the package managers that the image carries; skips where scripts/setup.py has not installed them."""
    programs = setup.installers_place() / "bin"
    if not programs.is_dir():
        pytest.skip("pnpm, yarn and bun are not installed: python3 scripts/setup.py installers")
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


@dataclass
class Server:
    """What the supervisor is told."""

    said: list[str] = field(default_factory=list)
    held: bool = False

    def hold(self, why: str) -> None:
        self.held = True
        self.said.append("hold")

    async def vacate(self, why: str) -> None:
        self.held = True
        self.said.append(f"vacate: {why}")

    async def make_room(self, why: str) -> bool:
        self.said.append(f"make room: {why}")
        return False

    def release(self) -> None:
        self.held = False
        self.said.append("release")

    def restart(self, reason: str) -> None:
        self.said.append(f"restart: {reason}")


class App:
    """An app of a backend of ours, on a disk, with its packages. `history` is every fact that was published."""

    def __init__(
        self, home: Path, *, path: str | None = None, limits: Limits | None = None, user_home: Path | None = None
    ) -> None:
        """`user_home`: a HOME of its own, whose caches no other test has filled; npm's settings are taken along."""
        self.place = Place(home)
        self.place.workspace.mkdir(parents=True, exist_ok=True)
        self.place.state.mkdir(exist_ok=True)
        self.backend = HonestBackend()
        self.server = Server()
        self.logs = LogTail()
        self.patience = PATIENCE
        """Seconds for one set with its installation."""
        self.history: list[InstallFacts] = []
        self.problems: tuple[Problem, ...] = ()
        self._changed = asyncio.Event()
        self._client: Client | None = None
        self._path = path or os.environ["PATH"]
        self._limits = limits
        self._user_home = Path(os.environ["HOME"]) if user_home is None else user_home
        if user_home is not None:
            user_home.mkdir()
            settings = Path(os.environ["HOME"]) / ".npmrc"
            if settings.is_file():
                shutil.copy(settings, user_home)

    @property
    def facts(self) -> InstallFacts:
        return self.history[-1]

    @property
    def modules(self) -> Path:
        return self.place.workspace / "node_modules"

    def installed(self) -> dict[str, str]:
        """Each package in node_modules with its version."""
        found = {}
        for path in self.modules.glob("[!.]*/package.json"):
            said = json.loads(path.read_bytes())
            found[path.parent.name] = said["version"]
        return dict(sorted(found.items()))

    def dependencies(self) -> PackageInstaller:
        return PackageInstaller(
            workspace=self.place.workspace,
            state_dir=self.place.state,
            environ={
                # certificates of a proxy between this machine and the registry
                **{name: os.environ[name] for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE") if name in os.environ},
                "PATH": self._path,
                "HOME": str(self._user_home),
                "API_KEY": "a secret",
            },
            clock=Clock(),
            server=self.server,
            on_line=self.logs.add,
            publish=self._publish,
            problems=self._set_problems,
            limits=self._limits,
        )

    def _publish(self, facts: InstallFacts) -> None:
        self.history.append(facts)
        self._changed.set()

    def _set_problems(self, source: Source, problems: tuple[Problem, ...]) -> None:
        assert source == "install"
        self.problems = problems
        self._changed.set()

    async def until(self, fact: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not fact():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came; {self.history[-3:]}, {self.problems}, {self.logs.lines()}") from None

    @asynccontextmanager
    async def running(self, serving: Callable[..., Any]) -> AsyncIterator[App]:
        """One life of the agent, as far as files and packages go; `serving` makes the backend reachable."""
        async with (
            serving(self.backend),
            syncing(self.place, self.backend, packages=self.dependencies()) as self._client,
        ):
            yield self

    async def on_disk(self) -> None:
        assert self._client is not None
        await self._client.until_on_disk()

    async def put(self, files: Mapping[str, bytes], *deleted: str) -> None:
        """One revision, until the disk has all of it and its packages are seen to."""
        assert self._client is not None
        before = len(self._client.applied)
        self.backend.put(dict(files), deleted)
        await self._client.until(lambda client: len(client.applied) > before, self.patience)
