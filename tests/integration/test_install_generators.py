"""Install scripts that read files of the app: run when these are there, and again when they change. Real npm."""

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

GENERATE = b"""
const fs = require('fs'), path = require('path')
const schema = path.join(process.env.INIT_CWD, 'prisma', 'schema.prisma')
fs.writeFileSync('generated.txt', fs.existsSync(schema) ? fs.readFileSync(schema) : 'nothing')
"""
STRICT = b"""
const fs = require('fs'), path = require('path')
fs.writeFileSync('generated.txt', fs.readFileSync(path.join(process.env.INIT_CWD, 'prisma', 'schema.prisma')))
"""
CLIENT = "vendor/fake-client-1.0.0.tgz"
SCHEMA = "prisma/schema.prisma"


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "home")


def client(shelf: Path, script: bytes = GENERATE) -> bytes:
    package(shelf, "fake-client", files={"generate.js": script}, scripts={"postinstall": "node generate.js"})
    return (shelf / "fake-client-1.0.0.tgz").read_bytes()


def generated(app: App) -> str:
    return (app.modules / "fake-client" / "generated.txt").read_text()


WITH_CLIENT = manifest({"fake-client": f"file:{CLIENT}"})


async def test_a_postinstall_finds_the_file_that_comes_with_its_package(app: App, tmp_path: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": WITH_CLIENT, CLIENT: client(tmp_path), SCHEMA: b"one"})
        assert (generated(app), app.problems) == ("one", ())


@pytest.mark.parametrize("script", [GENERATE, STRICT], ids=["forgiving", "strict"])
async def test_a_postinstall_of_an_added_package_finds_the_file_that_comes_with_it(
    app: App, tmp_path: Path, script: bytes
) -> None:
    async with app.running(serving):
        await app.put({"package.json": manifest({"a": package(tmp_path, "a")})})
        both = manifest({"a": package(tmp_path, "a"), "fake-client": f"file:{CLIENT}"})
        await app.put({"package.json": both, CLIENT: client(tmp_path, script), SCHEMA: b"one"})
        assert (generated(app), app.problems) == ("one", ())
        assert app.installed() == {"a": "1.0.0", "fake-client": "1.0.0"}


async def test_a_postinstall_runs_again_when_its_file_comes_and_when_it_changes(app: App, tmp_path: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": WITH_CLIENT, CLIENT: client(tmp_path)})
        assert generated(app) == "nothing"
        await app.put({SCHEMA: b"one"})
        assert generated(app) == "one"
        await app.put({SCHEMA: b"two", "app/page.tsx": b"x"})
        assert (generated(app), app.problems, app.facts.state, app.facts.runs) == ("two", (), "idle", 1)
        assert app.server.said[-2].startswith("restart: ") or app.server.said[-1].startswith("restart: ")
        said = len(app.server.said)
        await app.put({"app/page.tsx": b"y"})
        assert app.server.said[said:] == []


async def test_a_file_that_changed_while_no_agent_ran_is_seen_at_the_next_start(app: App, tmp_path: Path) -> None:
    async with app.running(serving):
        await app.put({"package.json": WITH_CLIENT, CLIENT: client(tmp_path), SCHEMA: b"one"})
    (app.place.workspace / SCHEMA).write_bytes(b"two")
    await app.dependencies().settle(frozenset({"package.json", CLIENT, SCHEMA}))
    assert generated(app) == "two"


async def test_a_script_that_fails_for_a_changed_file_is_told_until_it_does_not(app: App, tmp_path: Path) -> None:
    script = GENERATE + b"if (String(fs.readFileSync(schema)).includes('bad')) throw new Error('the schema is bad')\n"
    async with app.running(serving):
        await app.put({"package.json": WITH_CLIENT, CLIENT: client(tmp_path, script), SCHEMA: b"one"})
        await app.put({SCHEMA: b"bad"})
        (problem,) = app.problems
        assert (problem.code, "the schema is bad" in problem.message) == ("script-failed", True)
        assert str(tmp_path) not in problem.message
        await app.put({SCHEMA: b"good"})
        assert (generated(app), app.problems) == ("good", ())


async def test_the_apps_own_postinstall_runs_again_when_a_file_that_it_names_changes(app: App, tmp_path: Path) -> None:
    said = manifest({"a": package(tmp_path, "a")}, scripts={"postinstall": "node scripts/generate.mjs"})
    script = b"import fs from 'node:fs'\nfs.copyFileSync('content/list.yaml', 'node_modules/list.yaml')\n"
    async with app.running(serving):
        await app.put({"package.json": said, "scripts/generate.mjs": script, "content/list.yaml": b"one"})
        assert (app.modules / "list.yaml").read_text() == "one"
        await app.put({"content/list.yaml": b"two"})
        assert ((app.modules / "list.yaml").read_text(), app.problems) == ("two", ())
