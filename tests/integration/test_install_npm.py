"""Real npm, with packages from tarballs beside the workspace: no registry is asked."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.packages.run import Limits
from tests.peers.backend_honest import serving
from tests.peers.installing import App, manifest, package
from tests.peers.living import sleeping_in

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


async def test_packages_come_change_and_go(app: App, shelf: Path) -> None:
    one, two, b = package(shelf, "a"), package(shelf, "a", "2.0.0"), package(shelf, "b")
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": one})})
        assert app.installed() == {"a": "1.0.0"}
        await app.put({"package.json": manifest({"a": two, "b": b})})
        assert app.installed() == {"a": "2.0.0", "b": "1.0.0"}
        stays = (app.modules / "b").stat().st_ino
        await app.put({"package.json": manifest({"b": b})})
        assert app.installed() == {"b": "1.0.0"}
        assert (app.modules / "b").stat().st_ino == stays, "what stays is never missing, not for a moment"
    assert sorted(path.name for path in app.place.workspace.iterdir()) == ["node_modules", "package.json"]
    assert sorted(path.name for path in app.place.state.glob("packages*")) == ["packages.json", "packages.worked"]


@pytest.mark.parametrize("said", ["global=true", "location=global", "dry-run=true", "package-lock-only=true"])
async def test_an_npmrc_does_not_lead_an_installation_elsewhere(
    app: App, shelf: Path, tmp_path: Path, said: str
) -> None:
    npmrc = f"{said}\nprefix={tmp_path}/elsewhere\n".encode()
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")}), ".npmrc": npmrc})
        assert app.facts.state == "idle"
        assert app.installed() == {"a": "1.0.0"}


async def test_a_tree_that_somebody_else_made_is_taken_as_it_is(app: App, shelf: Path) -> None:
    said = {"a": package(shelf, "a"), "b": package(shelf, "b")}
    (app.place.workspace / "package.json").write_bytes(manifest(said))
    await asyncio.to_thread(
        subprocess.run, ["npm", "install", "--no-audit", "--no-fund"], cwd=app.place.workspace, check=True, timeout=60
    )
    lock = (app.place.workspace / "package-lock.json").read_bytes()
    async with app.running(serving):
        await app.put({"package.json": manifest(dict(reversed(said.items())), version="7"), "package-lock.json": lock})
        assert app.facts.runs == 0
        shutil.rmtree(app.modules / "b")
        (app.place.state / "packages.json").unlink()
        await app.put({"package.json": manifest(said, version="8")})
        assert (app.facts.runs, app.installed()) == (1, {"a": "1.0.0", "b": "1.0.0"})


async def test_a_folder_that_was_taken_away_is_made_again(app: App, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        shutil.rmtree(app.modules)
        await app.put({"package.json": manifest({"a": package(shelf, "a")}, version="2")})
        assert app.installed() == {"a": "1.0.0"}


@pytest.mark.parametrize("failure", ["no such package", "a script fails", "the network is gone"])
async def test_after_a_failure_the_old_tree_works_and_the_reason_is_told(app: App, shelf: Path, failure: str) -> None:
    bad = {
        "no such package": ("b", f"file:{shelf}/nowhere.tgz", "ENOENT"),
        "a script fails": ("b", package(shelf, "b", scripts={"postinstall": "echo the reason; exit 3"}), "the reason"),
        "the network is gone": ("b", "http://127.0.0.1:9/b.tgz", "ECONNREFUSED"),
    }
    name, spec, reason = bad[failure]
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        await app.put({"package.json": manifest({"a": package(shelf, "a"), name: spec}), "app/page.tsx": b"new"})

        assert app.installed() == {"a": "1.0.0"}
        assert (app.modules / "a" / "index.js").is_file()
        assert (app.place.workspace / "app" / "page.tsx").read_bytes() == b"new"
        (problem,) = app.problems
        assert reason in problem.message
        assert "\x1b" not in problem.message
        assert app.facts.state == "failed"

        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        assert (app.problems, app.facts.state) == ((), "idle")


async def test_a_package_that_a_kill_left_half_written_is_whole_after_the_next_installation(
    tmp_path: Path, shelf: Path
) -> None:
    names = [f"lib/{number}.js" for number in range(4000)]
    said = {"a": package(shelf, "a"), "big": package(shelf, "big", files=dict.fromkeys(names, b"x" * 500))}
    app = App(tmp_path / "home")
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        app.backend.put({"package.json": manifest(said)})
        async with asyncio.timeout(60):
            while not list(app.modules.glob("big/lib/*.js"))[:50]:  # noqa: ASYNC110 - another process's files
                await asyncio.sleep(0.002)
    there = len(list(app.modules.glob("big/lib/*.js")))
    print(f"killed with {there} of {len(names)} files")  # noqa: T201 - for pytest -s
    assert (app.place.state / "packages.begun").exists()

    again = App(tmp_path / "home")
    again.backend = app.backend
    async with again.running(serving):
        await again.until(lambda: again.history and again.facts.state == "idle")
        assert again.problems == ()
    assert len(list(app.modules.glob("big/lib/*.js"))) == len(names)
    assert again.installed() == {"a": "1.0.0", "big": "1.0.0"}


async def test_files_that_are_shared_with_another_tree_are_not_written_into(app: App, shelf: Path) -> None:
    """scripts/dev links the template's packages into each workspace."""
    said = {"a": package(shelf, "a"), "b": package(shelf, "b")}
    async with app.running(serving):
        await app.put({"package.json": manifest(said)})
        shared = app.place.home / "shared"
        shutil.copytree(app.modules, shared, copy_function=os.link, ignore=shutil.ignore_patterns(".package-lock.json"))
        before = {path: path.read_bytes() for path in shared.rglob("*.js")}

        # one that npm replaces, and one that a script of the app's own writes into (as patch-package does)
        patch = {"postinstall": "echo patched >> node_modules/b/index.js"}
        await app.put({"package.json": manifest({**said, "a": package(shelf, "a", "2.0.0")}, scripts=patch)})

    assert app.installed()["a"] == "2.0.0"
    assert "patched" in (app.modules / "b" / "index.js").read_text()
    assert {path: path.read_bytes() for path in shared.rglob("*.js")} == before


async def test_an_apps_own_script_sees_the_file_that_came_with_it(app: App, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        scripts = {"postinstall": "cp schema.txt node_modules/generated.txt"}
        said = {"a": package(shelf, "a"), "b": package(shelf, "b")}
        await app.put({"package.json": manifest(said, scripts=scripts), "schema.txt": b"the schema"})

        assert app.problems == ()
    assert (app.modules / "generated.txt").read_bytes() == b"the schema"


async def test_a_local_package_is_in_place_before_it_is_installed(app: App, shelf: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(shelf, "a")})})
        own = {"a": package(shelf, "a"), "own": "file:./packages/own", "ball": "file:vendor/ball-1.0.0.tgz"}
        package(shelf, "ball")
        await app.put(
            {
                "package.json": manifest(own),
                "packages/own/package.json": b'{"name": "own", "version": "3.0.0"}',
                "vendor/ball-1.0.0.tgz": (shelf / "ball-1.0.0.tgz").read_bytes(),
            }
        )

        assert app.problems == ()
        assert app.facts.runs == 2, "one for each set"
    assert app.installed() == {"a": "1.0.0", "ball": "1.0.0", "own": "3.0.0"}


async def test_a_script_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path, shelf: Path) -> None:
    app = App(tmp_path / "home", limits=Limits(seconds=4))
    slow = package(shelf, "slow", scripts={"postinstall": "sleep 601 & setsid sleep 602 & sleep 603"})
    async with app.running(serving):
        await app.put({"package.json": manifest({"slow": slow})})

    assert app.problems[0].message == "the installation took longer than 4 s and was killed"
    assert sleeping_in(app.place.workspace) == []
