"""What npm refuses, and the app's author did not see at home: contradicting peers, engines, TypeScript by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.peers.backend_honest import serving
from tests.peers.installing import App, manifest, package

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on PATH"),
]


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "home")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


async def test_contradicting_peers_are_installed_all_the_same_and_named(app: App, shelf: Path) -> None:
    old = package(shelf, "widget", peerDependencies={"core": "^1.0.0"})
    said = {"core": package(shelf, "core", "2.0.0"), "widget": old}
    async with app.running(serving):
        await app.put({"package.json": manifest(said)})
        assert app.installed() == {"core": "2.0.0", "widget": "1.0.0"}
        (problem,) = app.problems
        assert (app.facts.state, problem.level, problem.code) == ("idle", "warning", "peer-conflict")
        assert "core@2.0.0" in problem.message
        assert "widget@1.0.0" in problem.message
        told = app.problems

        await app.put({"package.json": manifest(said, version="2")})
        assert (app.problems, app.facts.runs) == (told, 1)
        await app.put({"package.json": manifest({**said, "a": package(shelf, "a")})})
        assert app.installed() == {"a": "1.0.0", "core": "2.0.0", "widget": "1.0.0"}
        assert app.problems[0].code == "peer-conflict"
        await app.put({"package.json": manifest({"core": package(shelf, "core"), "widget": old})})
        assert (app.problems, app.installed()) == ((), {"core": "1.0.0", "widget": "1.0.0"})


async def test_an_unsuitable_node_is_a_warning_with_both_versions(app: App, shelf: Path) -> None:
    said = manifest({"a": package(shelf, "a")}, engines={"node": ">=99"})
    async with app.running(serving):
        await app.put({"package.json": said, ".npmrc": b"engine-strict=true\n"})
        assert app.installed() == {"a": "1.0.0"}
        (problem,) = app.problems
        assert (problem.level, problem.code) == ("warning", "engine-mismatch")
        assert '">=99"' in problem.message
        assert "Node.js 2" in problem.message


async def test_the_dev_server_is_held_while_no_installation_ever_succeeded(app: App, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": f"file:{shelf}/nowhere.tgz"}), "app/page.tsx": b"1"})
        assert (app.server.held, app.facts.state, app.facts.blocks) == (True, "failed", True)
        assert app.problems[0].code == "install-failed"
        await app.put({"app/page.tsx": b"2"})
        assert app.server.held
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        assert (app.server.held, app.facts.state, app.facts.blocks) == (False, "idle", False)


async def test_what_worked_stays_up_after_a_failure_and_after_a_restart(app: App, tmp_path: Path, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        await app.put({"package.json": manifest({"a": package(shelf, "a"), "b": f"file:{shelf}/nowhere.tgz"})})
        assert (app.server.held, app.facts.state, app.facts.blocks) == (False, "failed", False)
    again = App(tmp_path / "home")
    await again.dependencies().settle(frozenset({"package.json"}))
    assert (again.facts.state, again.facts.blocks, again.server.held) == ("failed", False, False)


async def test_a_package_json_that_cannot_be_read_holds_the_server_until_it_can(app: App, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": b'{"name":"x",}'})
        (problem,) = app.problems
        assert (problem.line, problem.column, app.server.held, app.facts.blocks) == (1, 12, True, True)
        assert '{"name":"x",}' in problem.message
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        assert (app.problems, app.server.held) == ((), False)


async def test_a_broken_tsconfig_and_a_lock_file_with_a_conflict_are_told_with_their_lines(
    app: App, shelf: Path
) -> None:
    lock = b'{\n<<<<<<< HEAD\n "lockfileVersion": 3\n'
    files = {"package.json": manifest({"a": package(shelf, "a")}), "package-lock.json": lock}
    async with app.running(serving):
        await app.put({**files, "tsconfig.json": b'{\n  "compilerOptions": {\n    "strict" true\n  }\n}'})
        told = {problem.file: (problem.line, problem.level) for problem in app.problems}
        assert told == {"tsconfig.json": (3, "error"), "package-lock.json": (2, "warning")}
        assert app.installed() == {"a": "1.0.0"}
