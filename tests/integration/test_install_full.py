"""An installation on a disk that the compiler's cache has filled, with the real npm and the real supervisor."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.clock import Clock
from agent.devserver.repair.memory_limit import MIB
from agent.packages.installer import PackageInstaller
from agent.status import InstallFacts
from tests.peers.dev_server import Running, odd_server, running
from tests.peers.installing import manifest, package
from tests.peers.small_disk import small_disk

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on PATH")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder, 60 * MIB):
        yield folder


@dataclass
class App:
    """A folder with a supervisor and its packages. `facts` is every fact that was published."""

    folder: Path
    server: Running
    facts: list[InstallFacts] = field(default_factory=list)

    async def wants(self, dependencies: dict[str, str]) -> None:
        """One set with another package.json, until its packages are seen to."""
        changed = {"package.json": manifest(dependencies)}
        (self.folder / "workspace/package.json").write_bytes(changed["package.json"])
        it = PackageInstaller(
            workspace=self.folder / "workspace",
            state_dir=self.folder / "state",
            environ={"PATH": os.environ["PATH"], "HOME": str(self.folder.parent)},
            clock=Clock(),
            server=self.server.supervisor,
            on_line=self.server.supervisor.logs.add,
            publish=self.facts.append,
            problems=self.server.board.problems,
        )
        async with it.install_hooks(changed, frozenset(changed)) as hooks:
            for job in (hooks.before_sources, hooks.after_files):
                if job is not None:
                    await job()


@pytest.fixture
async def app(small: Path, free_port: Callable[[], int]) -> AsyncIterator[App]:
    port = free_port()
    async with running(odd_server(port), small, port) as it:
        await it.board.state("ready")
        yield App(small, it)


@pytest.fixture
def large(tmp_path: Path) -> str:
    return package(tmp_path / "shelf", "large", files={"data": os.urandom(30 * MIB)})


async def test_an_installation_that_found_no_room_gets_that_of_the_caches_and_is_done_again(
    app: App, large: str
) -> None:
    cache = app.folder / "workspace/.next/dev/cache"
    cache.mkdir(parents=True)
    (cache / "old").write_bytes(bytes(40 * MIB))
    await app.wants({"large": large})
    ready = await app.server.board.state("ready", starts=1)

    assert (app.facts[-1].state, app.server.board.told["install"]) == ("idle", ())
    assert (app.folder / "workspace/node_modules/large/data").stat().st_size == 30 * MIB
    assert ready.repairs[0].why == "the disk was full during an installation"
    assert not cache.exists()


async def test_a_package_that_npm_could_write_only_a_part_of_is_not_taken_for_installed(app: App, large: str) -> None:
    """Npm itself ends with success."""
    filled = app.folder / "filled"
    filled.write_bytes(bytes(40 * MIB))
    await app.wants({"large": large})
    failed = app.facts[-1]
    assert (failed.state, "ENOSPC" in str(failed.reason)) == ("failed", True)
    filled.unlink()
    await app.wants({"large": large})
    assert app.facts[-1].state == "idle"
    assert (app.folder / "workspace/node_modules/large/data").stat().st_size == 30 * MIB
