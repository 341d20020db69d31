"""Real pnpm, yarn 1, yarn 4 and bun: the manager that the lock file names, over the tree of another."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.packages.toolchain import Manager
from tests.peers.backend_honest import serving
from tests.peers.installing import App, manifest, package, with_installers

pytestmark = pytest.mark.timeout(180)

LOCKS: dict[Manager, str] = {
    "pnpm": "pnpm-lock.yaml",
    "yarn": "yarn.lock",
    "yarn-berry": "yarn.lock",
    "bun": "bun.lock",
}
ALONE: dict[Manager, tuple[str, ...]] = {
    "pnpm": ("install", "--lockfile-only"),
    "yarn": ("install", "--non-interactive"),
    "yarn-berry": ("install",),
    "bun": ("install",),
}
"""How each of them makes a lock file of its own."""
NAMED: dict[Manager, str] = {
    "pnpm": "pnpm@10.0.0",
    "yarn": "yarn@1.22.0",
    "yarn-berry": "yarn@4.0.0",
    "bun": "bun@1.0.0",
}
SETTINGS: dict[Manager, dict[str, bytes]] = {"yarn-berry": {".yarnrc.yml": b"nodeLinker: node-modules\n"}}


@pytest.fixture(params=LOCKS)
def manager(request: pytest.FixtureRequest) -> Manager:
    given: Manager = request.param
    return given


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "home", path=with_installers())


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


def lock_of(manager: Manager, files: bytes, folder: Path) -> bytes:
    """The lock file that the manager itself writes for this package.json."""
    folder.mkdir()
    (folder / "package.json").write_bytes(files)
    environ = {**os.environ, "PATH": with_installers(), "CI": "", "YARN_NODE_LINKER": "node-modules"}
    (folder / LOCKS[manager]).touch()  # yarn looks for its project further up where there is none
    if manager != "yarn-berry":
        (folder / LOCKS[manager]).unlink()
    subprocess.run([manager, *ALONE[manager]], cwd=folder, env=environ, check=True, capture_output=True, timeout=60)
    return (folder / LOCKS[manager]).read_bytes()


async def test_the_manager_of_the_lock_file_installs_and_leaves_the_lock_file_alone(
    app: App, manager: Manager, shelf: Path, tmp_path: Path
) -> None:
    first, second = manifest({"a": package(shelf, "a")}), manifest({"a": package(shelf, "a"), "b": package(shelf, "b")})
    lock = lock_of(manager, first, tmp_path / "made")
    async with app.running(serving):
        await app.put({"package.json": first, LOCKS[manager]: lock, **SETTINGS.get(manager, {})})
        assert (app.facts.manager, app.problems) == (manager, ())
        assert app.installed() == {"a": "1.0.0"}

        await app.put({"package.json": second})  # as an AI does it: without the lock file
        assert (app.problems, app.installed()) == ((), {"a": "1.0.0", "b": "1.0.0"})
        await app.put({"package.json": first})
        assert app.installed() == {"a": "1.0.0"}
    names = {path.name for path in app.place.workspace.iterdir()}
    own = {".yarn", *SETTINGS.get(manager, {})} if manager == "yarn-berry" else set()
    assert names == {"node_modules", "package.json", LOCKS[manager], *own}
    assert (app.place.workspace / LOCKS[manager]).read_bytes() == lock


async def test_a_package_that_does_not_exist_is_told_in_the_managers_words(
    app: App, manager: Manager, shelf: Path, tmp_path: Path
) -> None:
    first = manifest({"a": package(shelf, "a")})
    lock = lock_of(manager, first, tmp_path / "made")
    async with app.running(serving):
        await app.put({"package.json": first, LOCKS[manager]: lock, **SETTINGS.get(manager, {})})
        await app.put({"package.json": manifest({"a": package(shelf, "a"), "b": f"file:{shelf}/nowhere.tgz"})})
        (problem,) = app.problems
        assert "nowhere.tgz" in problem.message
        assert (app.modules / "a" / "index.js").is_file(), "the old tree goes on working"


async def test_another_managers_tree_is_replaced_and_nothing_written_through_its_links(
    app: App, manager: Manager, shelf: Path, tmp_path: Path
) -> None:
    said = {"a": package(shelf, "a"), "b": package(shelf, "b")}
    by_npm = tmp_path / "home" / "by-npm"
    by_npm.mkdir(parents=True)
    (by_npm / "package.json").write_bytes(manifest(said))
    await asyncio.to_thread(subprocess.run, ["npm", "install", "--no-audit"], cwd=by_npm, check=True, timeout=60)
    shutil.copytree(by_npm / "node_modules", app.modules, copy_function=os.link)
    before = {path: path.read_bytes() for path in by_npm.rglob("*.js*")}
    newer = manifest({**said, "a": package(shelf, "a", "2.0.0")})
    lock = lock_of(manager, newer, tmp_path / "made")
    async with app.running(serving):
        await app.put({"package.json": newer, LOCKS[manager]: lock, **SETTINGS.get(manager, {})})

        assert (app.problems, app.installed()) == ((), {"a": "2.0.0", "b": "1.0.0"})
    assert {path: path.read_bytes() for path in by_npm.rglob("*.js*")} == before
    assert sorted(path.name for path in app.place.state.glob("packages*")) == ["packages.json", "packages.worked"]
    if manager == "pnpm":
        assert (app.modules / "a").is_symlink()
        assert any(said.startswith("vacate: node_modules") for said in app.server.said)


async def test_a_tree_of_another_layout_is_put_back_when_the_new_one_fails(
    app: App, manager: Manager, shelf: Path
) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        assert app.facts.manager == "npm"
        bad = manifest({"a": package(shelf, "a"), "b": f"file:{shelf}/nowhere.tgz"}, packageManager=NAMED[manager])
        await app.put({"package.json": bad})

        assert app.facts.state == "failed"
    assert json.loads((app.modules / "a" / "package.json").read_bytes())["version"] == "1.0.0"
    assert not (app.modules / "a").is_symlink()
