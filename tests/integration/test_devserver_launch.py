"""What the supervisor runs where nothing but the app's own files says it: real processes, small servers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import Clock
from agent.devserver import app_watch
from agent.devserver.supervisor import Supervisor
from agent.process.find import is_free
from tests.peers.dev_server import Board, applied, living

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")]

Port = Callable[[], int]

SERVER = """
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
const at = process.argv.indexOf("--port");
const port = Number(at < 0 ? PORT : process.argv[at + 1]);
createServer((request, answer) => {
  answer.statusCode = START === "/" || request.url.startsWith(START) ? 200 : 404;
  answer.end("<script src='" + START + "/@vite/client'></script>");
}).listen(port, "127.0.0.1", () => console.log("listening on", port));
process.on("SIGTERM", () => setTimeout(() => { writeFileSync("ended", "in order"); process.exit(0); }, 150));
"""


def server(port: str = "process.env.PORT", start: str = "/") -> str:
    return SERVER.replace("? PORT :", f"? {port} :").replace("START", json.dumps(start))


class App:
    def __init__(self, folder: Path, port: int, board: Board, supervisor: Supervisor) -> None:
        self.folder = folder
        self.port = port
        self.board = board
        self.supervisor = supervisor

    def write(self, path: str, text: str) -> None:
        write(self.folder, path, text)
        self.supervisor.files_changed(applied(path))


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def manifest(dev: str | None = None, **more: object) -> str:
    return json.dumps({"name": "app", "version": "1.2.3", **({} if dev is None else {"scripts": {"dev": dev}}), **more})


def fake_vite(folder: Path) -> None:
    """A program in node_modules/.bin that takes Vite's flags."""
    write(folder, "node_modules/.bin/vite", f"#!/usr/bin/env node\n{server('0')}")
    write(folder, "node_modules/.bin/package.json", '{"type": "module"}')
    write(folder, "node_modules/vite/package.json", '{"version": "7.1.2"}')
    (folder / "node_modules/.bin/vite").chmod(0o755)


@asynccontextmanager
async def running(tmp_path: Path, port: int, files: dict[str, str], app_dir: str | None = None) -> AsyncIterator[App]:
    folder, board = tmp_path / "workspace", Board()
    folder.mkdir(exist_ok=True)
    for path, text in files.items():
        write(folder, path, text)
    supervisor = Supervisor(
        app_dir=app_dir,
        workspace=folder,
        state_dir=tmp_path / "state",
        port=port,
        clock=Clock(chance=lambda: 0.0),
        publish=board.publish,
        problems=board.problems,
        environ={"PATH": os.environ["PATH"], "API_KEY": "a secret"},
    )
    supervisor.files_changed(applied("package.json"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(supervisor.run())
        try:
            yield App(folder, port, board, supervisor)
        finally:
            session = board.now.pid
            await supervisor.stop()
    assert session is None or not living(session)
    assert is_free(port)


async def test_the_apps_own_server_is_run_on_our_port_and_again_when_its_file_changes(
    tmp_path: Path, free_port: Port
) -> None:
    files = {"package.json": manifest("node server.mjs"), "server.mjs": server()}
    async with running(tmp_path, free_port(), files) as app:
        ready = await app.board.state("ready")
        app.write("server.mjs", server() + "\n// changed\n")
        again = await app.board.state("ready", starts=1)

    assert (ready.framework, ready.command, ready.app_dir) == ("custom", "node server.mjs", "")
    assert again.crashes == 0
    assert (app.folder / "ended").read_text() == "in order"


async def test_another_dev_script_is_run_at_once(tmp_path: Path, free_port: Port) -> None:
    files = {"package.json": manifest("node one.mjs"), "one.mjs": server(), "two.mjs": server()}
    async with running(tmp_path, free_port(), files) as app:
        await app.board.state("ready")
        app.write("package.json", manifest("node one.mjs", description="nothing that is run"))
        app.write("package.json", manifest("node two.mjs"))
        again = await app.board.state("ready", starts=1)

    assert (again.command, again.restarts, again.crashes) == ("node two.mjs", 1, 0)


async def test_what_a_shell_started_is_asked_to_end_and_given_time(tmp_path: Path, free_port: Port) -> None:
    files = {
        "package.json": manifest("sleep 600 & node gen.mjs && node server.mjs"),
        "gen.mjs": "",
        "server.mjs": server(),
    }
    async with running(tmp_path, free_port(), files) as app:
        await app.board.state("ready")
        session = app.board.pid
        assert len(living(session)) >= 3
        await app.supervisor.stop()
        assert not living(session)

    assert (app.folder / "ended").read_text() == "in order"


async def test_a_script_sees_what_npm_would_tell_it_and_none_of_the_agents_secrets(
    tmp_path: Path, free_port: Port
) -> None:
    show = "import * as fs from 'node:fs'; fs.writeFileSync('seen.json', JSON.stringify(process.env));"
    files = {"package.json": manifest("A='b c' node server.mjs"), "server.mjs": show + server(), "pnpm-lock.yaml": ""}
    async with running(tmp_path, port := free_port(), files) as app:
        await app.board.state("ready")

    seen = json.loads((app.folder / "seen.json").read_text())
    assert (seen["npm_package_name"], seen["npm_package_version"]) == ("app", "1.2.3")
    assert (seen["npm_lifecycle_event"], seen["INIT_CWD"]) == ("dev", str(app.folder))
    assert seen["npm_config_user_agent"].startswith("pnpm/")
    assert (seen["PORT"], seen["A"]) == (str(port), "b c")
    assert seen["PATH"].startswith(f"{app.folder}/node_modules/.bin:")
    assert "API_KEY" not in seen


async def test_a_server_with_a_port_of_its_own_is_told_what_to_do(
    tmp_path: Path, free_port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_watch, "PORT_EVERY", 0.1)
    other = free_port()
    files = {"package.json": manifest("node server.mjs"), "server.mjs": server(str(other))}
    async with running(tmp_path, free_port(), files) as app:
        await app.board.until(lambda: app.board.told.get("dev_server"))
        (problem,) = app.board.told["dev_server"]
        app.write("server.mjs", server())
        await app.board.state("ready")

    assert f"listens on port {other}" in problem.message
    assert "process.env.PORT" in problem.message
    assert app.board.told["dev_server"] == ()


async def test_a_broken_manifest_is_waited_for_and_the_app_starts_as_soon_as_it_is_mended(
    tmp_path: Path, free_port: Port
) -> None:
    files = {"package.json": '{"name":"x",}', "server.mjs": server()}
    async with running(tmp_path, free_port(), files) as app:
        await app.board.until(lambda: "package.json line 1, column 12: a comma" in app.board.now.reason)
        assert app.board.now.state == "waiting"
        app.write("package.json", manifest("node server.mjs"))
        await app.board.state("ready")


async def test_the_app_of_a_workspace_is_found_and_run_in_its_folder_with_the_roots_programs(
    tmp_path: Path, free_port: Port
) -> None:
    files = {
        "package.json": manifest("turbo run dev", workspaces=["apps/*", "packages/*"]),
        "apps/web/package.json": manifest("vite --port 1", devDependencies={"vite": "7"}),
        "packages/ui/package.json": manifest("tsc -w", devDependencies={"vite": "7"}),
    }
    fake_vite(tmp_path / "workspace")
    async with running(tmp_path, free_port(), files) as app:
        ready = await app.board.state("ready")

    assert (ready.framework, ready.framework_version, ready.app_dir) == ("vite", "7.1.2", "apps/web")
    assert ready.checks_host
    assert (app.folder / "apps/web/ended").exists(), "it ran in the app's folder"


async def test_of_several_apps_none_is_guessed_and_app_dir_says_which(tmp_path: Path, free_port: Port) -> None:
    files = {
        "package.json": manifest(),
        "pnpm-workspace.yaml": "packages:\n  - apps/*\n",
        "apps/web/package.json": manifest("vite", devDependencies={"vite": "7"}),
        "apps/docs/package.json": manifest("vite", devDependencies={"vite": "7"}),
    }
    fake_vite(tmp_path / "workspace")
    async with running(tmp_path, free_port(), files) as app:
        await app.board.until(lambda: "several apps" in app.board.now.reason)
    assert "apps/docs, apps/web" in app.board.now.reason or "several" in str(app.board.states)
    async with running(tmp_path, free_port(), files, "apps/docs") as app:
        assert (await app.board.state("ready")).app_dir == "apps/docs"


async def test_an_app_below_a_path_of_its_own_is_found_there(tmp_path: Path, free_port: Port) -> None:
    files = {"package.json": manifest("node server.mjs"), "server.mjs": server(start="/shop")}
    async with running(tmp_path, free_port(), files) as app:
        assert (await app.board.state("ready")).start_path == "/shop"
