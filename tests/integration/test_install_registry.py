"""Real managers and the real registry: what is installed is what a bare run in an empty folder installs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from agent.packages import managers
from agent.packages.toolchain import Manager
from tests.peers.backend_honest import serving
from tests.peers.installing import App, manifest, with_installers

pytestmark = pytest.mark.timeout(300)

MANAGERS: tuple[Manager, ...] = ("npm", "pnpm", "yarn", "yarn-berry", "bun")
NAMED: dict[Manager, str] = {
    "npm": "npm@11.0.0",
    "pnpm": "pnpm@10.34.8",
    "yarn": "yarn@1.22.22",
    "yarn-berry": "yarn@4.18.1",
    "bun": "bun@1.4.5",
}
NODE_MODULES = {".yarnrc.yml": b"nodeLinker: node-modules\n"}


@cache
def registry_is_there() -> bool:
    asked = subprocess.run(["npm", "view", "ms@2.1.3", "version"], capture_output=True, timeout=60, check=False)
    return asked.returncode == 0


@pytest.fixture
def app(tmp_path: Path) -> App:
    if not registry_is_there():
        pytest.skip("npm's registry is out of reach")
    made = App(tmp_path / "home", path=with_installers(), user_home=tmp_path / "user")
    made.patience = 120.0
    return made


def versions(modules: Path) -> dict[str, str]:
    """Every package at the top of a tree with its version."""
    found = {}
    for path in [*modules.glob("[!.@]*/package.json"), *modules.glob("@*/*/package.json")]:
        said = json.loads(path.read_bytes())
        found[said["name"]] = said["version"]
    return found


def bare(manager: Manager, folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """The versions that the manager installs by itself, without anything of ours around it."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if manager == "yarn-berry":
        (folder / "yarn.lock").touch()  # else it looks for its project further up
    environ = {**os.environ, "PATH": with_installers(), **managers.environment(manager)}
    subprocess.run([manager, "install"], cwd=folder, env=environ, check=True, capture_output=True, timeout=120)
    return versions(folder / "node_modules")


@pytest.mark.parametrize("manager", MANAGERS)
async def test_the_versions_are_those_of_a_bare_installation(app: App, manager: Manager, tmp_path: Path) -> None:
    said = manifest({"react": "^18", "react-dom": "^18", "clsx": "*", "chalk": "^4"}, packageManager=NAMED[manager])
    files = {"package.json": said, **(NODE_MODULES if manager == "yarn-berry" else {})}
    expected = await asyncio.to_thread(bare, manager, tmp_path / "bare", files)
    async with app.running(serving):
        # A tree of other versions is there before, as an app finds one that it had until now.
        await app.put({"package.json": manifest({"react": "19.1.0", "react-dom": "19.1.0"})})
        await app.put(files)
        assert (app.facts.state, app.facts.manager) == ("idle", manager), app.problems
    found = versions(app.modules)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize("manager", MANAGERS)
async def test_a_typescript_app_gets_the_types_that_it_does_not_list_once_and_pinned(
    app: App, manager: Manager
) -> None:
    # next is a small package of another name here: nothing of it is run.
    said = manifest({"next": "npm:ms@2.1.3", "react": "18.3.1"}, packageManager=NAMED[manager])
    files = {"package.json": said, "app/page.tsx": b"x", **(NODE_MODULES if manager == "yarn-berry" else {})}
    wanted = {"typescript": "5.9.3", "@types/node": "22.19.1", "@types/react": "18.3.8"}
    async with app.running(serving):
        await app.put(files)
        assert (app.facts.state, app.problems) == ("idle", ())
        found = versions(app.modules)
        assert {name: found.get(name) for name in wanted} == wanted
        assert (app.place.workspace / "package.json").read_bytes() == said
        assert not list(app.place.workspace.glob("*lock*"))

        runs = app.facts.runs
        await app.put({"app/page.tsx": b"y", "package.json": said.replace(b'"name": "app"', b'"name": "other"')})
        assert app.facts.runs == runs
    again = App(app.place.home, path=with_installers())
    await again.dependencies().settle(frozenset(files))
    assert again.facts.runs == 0


async def test_another_major_version_of_a_manager_is_fetched_once(app: App) -> None:
    said = manifest({"ms": "2.1.3"}, packageManager="pnpm@9.15.9+sha512.00")
    async with app.running(serving):
        await app.put({"package.json": said})
        assert (app.facts.manager, app.problems) == ("pnpm", ())
        assert b"pnpm@9.15.9" in (app.modules / ".modules.yaml").read_bytes()
        fetched = [line for line in app.logs.lines() if line.startswith("$ sh -c")]
        assert len(fetched) == 1
        await app.put({"package.json": manifest({"ms": "2.1.3", "clsx": "2.1.1"}, packageManager="pnpm@9.15.9")})
        assert [line for line in app.logs.lines() if line.startswith("$ sh -c")] == fetched


async def test_where_another_version_cannot_be_had_the_images_own_is_used_and_told(app: App) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"ms": "2.1.3"}, packageManager="pnpm@9.999.0")})
        (problem,) = app.problems
        assert (app.facts.state, problem.level, problem.code) == ("idle", "warning", "package-manager")
        assert "pnpm@9.999.0 cannot be fetched" in problem.message
        assert "pnpm 10.34.8 is used instead" in problem.message


@pytest.mark.parametrize("manager", ["pnpm", "yarn-berry", "bun"])
async def test_build_scripts_that_were_not_run_are_named_with_the_way_to_allow_them(app: App, manager: Manager) -> None:
    said = {"dependencies": {"es5-ext": "0.10.64"}, "packageManager": NAMED[manager]}
    extra = NODE_MODULES if manager == "yarn-berry" else {}
    strict = {"pnpm-workspace.yaml": b"strictDepBuilds: true\n"} if manager == "pnpm" else {}
    async with app.running(serving):
        await app.put({"package.json": json.dumps(said).encode(), **extra, **strict})
        (problem,) = app.problems
        assert (app.facts.state, problem.level, problem.code) == ("idle", "warning", "builds-skipped")
        assert "es5-ext" in problem.message
        assert (app.modules / "es5-ext" / "package.json").is_file()
