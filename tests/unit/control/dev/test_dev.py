"""What `scripts/dev` does before and beside the two programs it runs."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from control.dev import __main__ as dev
from control.dev import options, ports, workspace
from control.dev.news import News
from control.dev.processes import ProgramFailed, running, worth_showing
from control.dev.terminal import Terminal
from control.dev.workspace import CannotPreview, PreviewFolder, open_preview_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty .preview/ and a template of three files, one of them a package's."""
    template, packages = tmp_path / "template", tmp_path / "cache" / "modules" / "lock" / "node_modules"
    (template / "app").mkdir(parents=True)
    (template / "package-lock.json").write_text("{}")
    (template / "app" / "page.tsx").write_text("waiting")
    (packages / "next").mkdir(parents=True)
    (packages / "next" / "package.json").write_text("{}")
    (packages / ".package-lock.json").write_text("{}")
    monkeypatch.setattr(workspace, "TEMPLATE", template)
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(workspace, "template_modules", lambda: packages)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "my app (new)"
    place.mkdir()
    return place


class TestPlace:
    def test_it_has_the_template_its_packages_and_a_key_that_only_the_owner_reads(
        self, cache: Path, folder: Path
    ) -> None:
        with open_preview_folder(folder) as place:
            assert (place.workspace / "app" / "page.tsx").read_text() == "waiting"
            assert not (place.workspace / "node_modules").is_symlink()
            assert (place.workspace / "node_modules" / "next" / "package.json").is_file()
            assert len(place.key_file.read_text()) > 30
            assert place.key_file.stat().st_mode & 0o777 == 0o600
            assert place.app_id == "my-app-new"

    def test_packages_are_shared_but_npms_own_record_is_not(self, cache: Path, folder: Path) -> None:
        with open_preview_folder(folder) as place:
            modules = place.workspace / "node_modules"
            assert (modules / "next" / "package.json").stat().st_nlink == 2
            assert (modules / ".package-lock.json").stat().st_nlink == 1

    def test_it_is_a_repository_of_its_own_for_what_an_app_installs_into_one(self, cache: Path, folder: Path) -> None:
        with open_preview_folder(folder) as place:
            found = subprocess.check_output(
                ["git", "-C", place.workspace, "rev-parse", "--show-toplevel"], text=True, timeout=30
            )
            assert Path(found.strip()) == place.workspace

    def test_where_links_are_impossible_packages_are_copied(
        self, cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(18, "Invalid cross-device link")))
        with open_preview_folder(folder) as place:
            assert (place.workspace / "node_modules" / "next" / "package.json").stat().st_nlink == 1

    def test_a_second_start_finds_everything_as_it_was(self, cache: Path, folder: Path) -> None:
        with open_preview_folder(folder) as place:
            key = place.key_file.read_text()
            (place.workspace / "app" / "page.tsx").write_text("the app's own")
            (place.state / "manifest").write_text("it is there")
        with open_preview_folder(folder) as place:
            assert place.key_file.read_text() == key
            assert (place.workspace / "app" / "page.tsx").read_text() == "the app's own"
            assert (place.state / "manifest").is_file()

    def test_a_changed_template_makes_workspace_and_state_anew(self, cache: Path, folder: Path) -> None:
        with open_preview_folder(folder) as place:
            (place.workspace / "app" / "old.tsx").touch()
            (place.state / "manifest").touch()
        (workspace.TEMPLATE / "app" / "page.tsx").write_text("waiting, more beautifully")
        with open_preview_folder(folder) as place:
            assert (place.workspace / "app" / "page.tsx").read_text() == "waiting, more beautifully"
            assert not (place.workspace / "app" / "old.tsx").exists()
            assert not list(place.state.iterdir())

    def test_two_folders_of_one_name_do_not_share_a_place(self, cache: Path, tmp_path: Path) -> None:
        homes = []
        for parent in ("a", "b"):
            (tmp_path / parent / "shop").mkdir(parents=True)
            with open_preview_folder(tmp_path / parent / "shop") as place:
                homes.append(place.home)
        assert homes[0] != homes[1]

    def test_a_second_start_of_a_folder_is_told_where_the_first_shows_it(self, cache: Path, folder: Path) -> None:
        with open_preview_folder(folder) as place:
            with pytest.raises(CannotPreview, match="already being previewed, by another"), open_preview_folder(folder):
                pass
            place.write_address("http://localhost:3000")
            told = rf"already being previewed: http://localhost:3000 \(process {os.getpid()}\)"
            with pytest.raises(CannotPreview, match=told), open_preview_folder(folder):
                pass

    def test_a_folder_that_is_not_there_is_said(
        self, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert dev.main([str(tmp_path / "none")]) == 2
        assert f"there is no folder {tmp_path / 'none'}" in capsys.readouterr().out


class TestPorts:
    def test_a_taken_port_is_replaced_by_a_free_one_and_none_comes_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            monkeypatch.setattr(ports, "PORTS", {"control": 0, "PORT": number, "DEV_PORT": number, "AGENT_PORT": 0})
            found = ports.free_ports()
        assert number not in found.values()
        assert len(set(found.values())) == 4

    def test_a_port_that_was_asked_for_is_taken_or_its_holder_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "PORTS", dict.fromkeys(ports.PORTS, 0))
        with socket.create_server(("", 0)) as taken:
            number = taken.getsockname()[1]
            with pytest.raises(CannotPreview, match=rf"port {number} is taken by .+ \(pid {os.getpid()}\): stop"):
                ports.free_ports(number)
        assert ports.free_ports(number)["PORT"] == number

    def test_the_agent_gets_its_settings_and_no_others_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_KEY", "of-another-backend")
        monkeypatch.setenv("SLEEP_MODE", "suspend")
        monkeypatch.delenv("IDLE_TIMEOUT", raising=False)
        environ = dev._agent_environ(PreviewFolder("shop", Path("/place")), {"control": 1, "PORT": 2, "DEV_PORT": 3})
        assert "API_KEY" not in environ
        assert (environ["SLEEP_MODE"], environ["API_URL"], environ["PORT"]) == ("exit", "http://127.0.0.1:1", "2")
        assert environ["IDLE_TIMEOUT"] == "0"

    def test_the_agent_sleeps_after_what_the_developer_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDLE_TIMEOUT", "20s")
        environ = dev._agent_environ(PreviewFolder("shop", Path("/place")), {"control": 1})
        assert environ["IDLE_TIMEOUT"] == "20s"
        assert "APP_DIR" not in environ

    def test_the_agent_is_told_the_apps_own_folder(self) -> None:
        assert (
            dev._agent_environ(PreviewFolder("shop", Path("/place")), {"control": 1}, "apps/web/")["APP_DIR"]
            == "apps/web"
        )


class TestOptions:
    def options(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As scripts/dev reads them, on a Python that has nothing installed."""
        command = [sys.executable, "-I", "-S", str(Path(options.__file__)), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def test_help_answers_before_anything_is_set_up(self) -> None:
        answer = self.options("--help")
        assert answer.returncode == 0
        assert {"--port", "--app-dir"} <= set(answer.stdout.split())

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--prot=3",), "unrecognized arguments: --prot=3"),
            (("--port", "x"), "'x' is not a port (it takes a number from 1 to 65535)"),
            (("--port", "70000"), "'70000' is not a port"),
            (("/none/here",), "there is no folder /none/here"),
            (("--app-dir", "apps/none"), "there is no folder apps/none in"),
            (("--app-dir", "../x"), "(it takes a path inside"),
        ],
    )
    def test_a_wrong_option_is_told_before_anything_is_set_up(self, arguments: tuple[str, ...], told: str) -> None:
        answer = self.options(*arguments)
        assert answer.returncode == 2
        assert told in answer.stderr


LIVE: dict[str, Any] = {
    "missing": [],
    "blocked": None,
    "problems": [],
    "notes": [],
    "dev_server": {"error": None},
    "install": {"state": "idle"},
}
COMING: dict[str, Any] = {**LIVE, "missing": ["the dev server is starting"]}


class TestNews:
    def test_a_preview_that_is_live_is_told_once(self) -> None:
        news = News("http://localhost:9090/status")
        assert news.lines(COMING, 1.0) == []
        assert news.waits_for(COMING) == "the dev server is starting"
        assert news.lines(LIVE, 2.5)[0] == "  Live after 2.5 s. Every save is shown. Ctrl-C ends it."
        assert news.waits_for(LIVE) is None
        assert news.lines(LIVE, 3.0) == []
        assert news.lines(COMING, 4.0) == []
        assert news.lines(LIVE, 5.0) == []

    def test_an_installation_is_what_is_waited_for(self) -> None:
        install = {"state": "running", "manager": "npm", "progress": "12 fetched"}
        assert News("").waits_for({**COMING, "install": install}) == "installing the packages with npm: 12 fetched"

    def test_what_blocks_it_is_told_with_its_reason_and_not_as_live(self) -> None:
        news = News("")
        error = {"text": "Error: no ms", "place": "next.config.ts", "advice": "Add ms.", "details": ["> 1 | import"]}
        blocked = {**COMING, "blocked": "Error: no ms (next.config.ts)", "dev_server": {"error": error}}
        said = "\n".join(news.lines(blocked, 1.0))
        assert "The app cannot be shown:\n  Error: no ms (next.config.ts)\n  Add ms.\n  > 1 | import" in said
        assert "live" not in said
        assert news.waits_for(blocked) is None
        assert news.lines(blocked, 2.0) == []
        assert "Live after 3.0 s" in news.lines(LIVE, 3.0)[0]
        assert news.lines(blocked, 4.0)
        assert news.lines(LIVE, 5.0) == ["  Live again."]

    def test_problems_are_told_as_they_come_and_go_and_notes_once(self) -> None:
        news = News("", first=False)
        problem = {"source": "compile", "message": "Expected ','\nmore", "file": "app/page.tsx", "line": 3, "column": 7}
        with_it = {**LIVE, "problems": [problem], "notes": [{"message": "no .env", "file": None}]}
        assert news.lines(with_it, 1.0) == [
            "  note     no .env",
            "  A visit woke the preview; it is live after 1.0 s.",
            "  problem  app/page.tsx:3:7: Expected ','",
        ]
        assert news.lines(with_it, 2.0) == []
        assert news.lines(LIVE, 3.0) == ["  solved   app/page.tsx:3:7: Expected ','"]


class TestPrograms:
    async def run(self, script: str, tmp_path: Path, said: list[str], stop: asyncio.Event | None = None) -> None:
        command = (sys.executable, "-u", "-c", script)
        async with (
            asyncio.timeout(20),
            running("agent", command, dict(os.environ), tmp_path / "log", said.append) as program,
        ):
            if stop is None:
                await program.watch()
            else:
                await stop.wait()

    async def test_its_output_goes_to_the_log_and_news_are_shown(self, tmp_path: Path) -> None:
        said: list[str] = []
        script = 'print(\'{"event": "x.y", "level": "info"}\'); print(\'Traceback\')'
        await self.run(script, tmp_path, said)
        assert said == ["agent   Traceback"]
        assert (tmp_path / "log").read_text().count("\n") == 2

    async def test_one_that_fails_is_an_error_with_its_last_words(self, tmp_path: Path) -> None:
        with pytest.raises(ProgramFailed, match=r"status 3; its last lines:\nno such thing"):
            await self.run("print('no such thing'); raise SystemExit(3)", tmp_path, [])

    async def test_nothing_of_it_is_left_even_if_it_does_not_want_to_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("control.dev.processes.GRACE_SECONDS", 0.3)
        deaf = "import signal; signal.signal(15, signal.SIG_IGN);"
        child = f"{deaf} import os, time; print(os.getpid()); time.sleep(60)"
        script = f"{deaf} import subprocess, sys; subprocess.run([sys.executable, '-uc', {child!r}])"
        said: list[str] = []
        stop = asyncio.Event()

        def show(line: str) -> None:
            said.append(line)
            stop.set()

        async with (
            asyncio.timeout(20),
            running("agent", (sys.executable, "-c", script), {}, tmp_path / "log", show) as program,
            asyncio.TaskGroup() as group,
        ):
            reading = group.create_task(program.watch())
            await stop.wait()
            reading.cancel()
        pid = int(said[0].split()[1])
        async with asyncio.timeout(5):
            while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - not a child of ours
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"event": "sync.applied", "level": "info", "revision": 3, "timestamp": "…"}', "sync.applied revision=3"),
        ('{"event": "dev_server.line", "level": "info", "text": "GET /"}', None),
        ('{"event": "sync.failed", "level": "warning", "message": "401"}', "sync.failed message=401"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("", None),
        ("3", "3"),
    ],
)
def test_news_are_shown_and_routine_is_not(line: str, shown: str | None) -> None:
    assert worth_showing(line) == shown


def test_without_a_terminal_a_wait_is_said_once_and_then_now_and_then() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    for _ in range(50):
        terminal.progress("starting the agent")
    terminal.progress("compiling")
    assert out.getvalue() == "starting the agent … 0 s\ncompiling … 0 s\n"
