"""When the installer runs, and which files it finds in place: a stand-in for npm notes both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.packages.run import Limits
from tests.peers.backend_honest import serving
from tests.peers.installing import App, manifest, program
from tests.peers.living import living_in

NPM = """
echo "$*" | sed 's/.*loglevel=http//' >> {log}/arguments
cat package.json > {log}/package.json
cat app/page.tsx > {log}/page.tsx
printf '{{"page": "%s", "wants": "%s", "keep": "%s"}}\\n' "$(cat app/page.tsx)" \\
  "$(tr -d '\\n{{}}" ' < package.json | sed 's/.*dependencies://')" "$(echo "$*" | sed -n 's/.* -- //p')" >> {log}/runs
mkdir -p node_modules/next
[ -e {log}/next ] && printf '{{"version": "%s"}}' "$(cat {log}/next)" > node_modules/next/package.json
while [ -e {log}/wait ]; do sleep 0.02; done
[ -e {log}/fail ] && {{ echo "npm error nothing works" >&2; exit 1; }}
[ -e {log}/lock ] && echo "written by npm" > package-lock.json
exit 0
"""


@dataclass
class Noted:
    """What the stand-in saw, run by run; `set` and `clear` make it wait, or fail."""

    log: Path

    @property
    def runs(self) -> list[dict[str, str]]:
        path = self.log / "runs"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def begun(self, times: int) -> None:
        async with asyncio.timeout(20):
            while len(self.runs) < times:  # noqa: ASYNC110 - another process's file has no event
                await asyncio.sleep(0.01)

    def set(self, flag: str) -> None:
        (self.log / flag).touch()

    def clear(self, flag: str) -> None:
        (self.log / flag).unlink()


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    log = tmp_path / "noted"
    log.mkdir()
    return Noted(log)


@pytest.fixture
def app(tmp_path: Path, noted: Noted) -> App:
    return another(tmp_path, noted)


def another(tmp_path: Path, noted: Noted, limits: Limits | None = None) -> App:
    path = program(tmp_path / "bin", "npm", NPM.format(log=noted.log))
    return App(tmp_path / "home", path=path, limits=limits)


def files(page: str, *names: str, **said: Any) -> Mapping[str, bytes]:
    return {"app/page.tsx": page.encode(), "package.json": manifest(dict.fromkeys(names, "1"), **said)}


def page(app: App) -> str:
    return (app.place.workspace / "app" / "page.tsx").read_text()


async def test_the_first_installation_finds_every_file_in_place(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))

    assert noted.runs == [{"page": "one", "wants": "a:1", "keep": ""}]
    assert app.facts.state == "idle"
    assert app.facts.runs == 1


async def test_an_added_package_is_there_before_the_source_that_imports_it(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        await app.put(files("two", "a", "b"))

    assert noted.runs[1:] == [{"page": "one", "wants": "a:1,b:1", "keep": ""}]
    assert page(app) == "two"


async def test_a_removed_package_is_there_until_no_source_imports_it(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a", "b"))
        await app.put(files("two", "a"))

    assert noted.runs[1:] == [{"page": "two", "wants": "a:1", "keep": ""}]


async def test_a_package_that_is_replaced_stays_beside_its_successor_until_the_sources_changed(
    app: App, noted: Noted
) -> None:
    async with app.running(serving):
        await app.put(files("one", "a", "b"))
        await app.put(files("two", "a", "c"))

    assert noted.runs[1:] == [
        {"page": "one", "wants": "a:1,c:1", "keep": "b@1"},
        {"page": "two", "wants": "a:1,c:1", "keep": ""},
    ]


async def test_what_asks_for_the_same_packages_installs_nothing(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        await app.put(files("two", "a", scripts={"dev": "next dev"}, version="2"))
        await app.put({"app/page.tsx": b"three"})

    assert len(noted.runs) == 1
    assert page(app) == "three"


async def test_edits_wait_while_an_installer_writes_and_come_together_after_it(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        noted.set("wait")
        app.backend.put(dict(files("two", "a", "b")))
        await app.until(lambda: app.facts.state == "running")
        app.backend.put({"app/other.tsx": b"1"})
        app.backend.put({"app/other.tsx": b"2"})
        await noted.begun(2)
        assert (page(app), len(app.backend.files)) == ("one", 3)
        assert not (app.place.workspace / "app" / "other.tsx").exists()
        noted.clear("wait")
        await app.on_disk()
        assert (app.place.workspace / "app" / "other.tsx").read_bytes() == b"2"


async def test_a_failed_installation_is_a_problem_and_the_sources_come_all_the_same(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        noted.set("fail")
        await app.put(files("two", "a", "b"))

        assert page(app) == "two"
        assert (app.facts.state, app.facts.manager) == ("failed", "npm")
        (problem,) = app.problems
        assert (problem.message, problem.file) == ("npm could not install the packages:\nnothing works", "package.json")

        await app.put({"app/page.tsx": b"three"})
        assert len(noted.runs) == 2, "not tried again for a change of sources"
        noted.clear("fail")
        await app.put({"package.json": manifest({"a": "1", "b": "1"}, version="2")})
        assert len(noted.runs) == 3
        assert (app.facts.state, app.problems) == ("idle", ())


async def test_what_failed_is_tried_once_more_at_the_next_start(tmp_path: Path, app: App, noted: Noted) -> None:
    noted.set("fail")
    async with app.running(serving):
        await app.put(files("one", "a"))
    noted.clear("fail")

    again = another(tmp_path, noted)
    again.backend = app.backend
    async with again.running(serving):
        await again.until(lambda: again.history and again.facts.state == "idle")
    assert len(noted.runs) == 2

    last = another(tmp_path, noted)
    last.backend = app.backend
    async with last.running(serving):
        await last.until(lambda: last.history and last.facts.state == "idle")
    assert len(noted.runs) == 2, "what is there is not installed again"


async def test_a_broken_package_json_installs_nothing_and_says_where(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        await app.put({"app/page.tsx": b"two", "package.json": b'{\n "dependencies": {"a" "1"}}'})

        assert (len(noted.runs), page(app)) == (1, "two")
        (problem,) = app.problems
        assert (problem.file, problem.line) == ("package.json", 2)

        await app.put({"package.json": manifest({"a": "1"})})
        assert (len(noted.runs), app.problems) == (1, ())


async def test_a_stop_in_the_middle_leaves_no_installer_and_the_next_start_finishes(
    tmp_path: Path, app: App, noted: Noted
) -> None:
    async with app.running(serving):
        await app.put(files("one", "a"))
        noted.set("wait")
        app.backend.put({**files("two", "a", "b"), "app/new.tsx": b"new"})
        await noted.begun(2)
    assert page(app) == "one"
    assert living_in(app.place.workspace) == []
    noted.clear("wait")

    disk = app.place.disk(app.backend.url)
    disk.open()  # without a backend: from the journal and the staged bytes alone
    managed = frozenset(disk.manifest.files)
    disk.close()
    assert page(app) == "two"
    assert (app.place.workspace / "app" / "new.tsx").read_bytes() == b"new"
    assert disk.manifest.etag == app.backend.tag
    again = another(tmp_path, noted)
    await again.dependencies().settle(managed)
    assert noted.runs[2:] == [{"page": "two", "wants": "a:1,b:1", "keep": ""}]
    assert again.facts.state == "idle"


async def test_an_installer_over_its_time_is_ended(tmp_path: Path, noted: Noted) -> None:
    app = another(tmp_path, noted, Limits(seconds=0.3))
    noted.set("wait")
    async with app.running(serving):
        await app.put(files("one", "a"))

    assert app.problems[0].message == "the installation took longer than 0 s and was killed"
    assert living_in(app.place.workspace) == []


async def test_an_installer_over_its_memory_is_ended(tmp_path: Path, noted: Noted) -> None:
    app = another(tmp_path, noted, Limits(memory=1))
    noted.set("wait")
    async with app.running(serving):
        await app.put(files("one", "a"))

    assert "MiB of memory and was killed: 0 MiB are allowed" in app.problems[0].message
    assert living_in(app.place.workspace) == []


async def test_the_dev_server_is_held_while_its_packages_are_not_there(app: App, noted: Noted) -> None:
    noted.set("wait")
    async with app.running(serving):
        app.backend.put(dict(files("one", "a")))
        await app.until(lambda: app.history and app.facts.state == "running")
        assert app.server.held
        noted.clear("wait")
        await app.until(lambda: app.facts.state == "idle")
    assert app.server.said == ["hold", "release", "hold", "release"]


async def test_the_dev_server_is_ended_before_what_it_has_loaded_is_replaced(app: App, noted: Noted) -> None:
    async with app.running(serving):
        await app.put(files("one", "next"))
        noted.set("wait")
        app.backend.put({"package.json": manifest({"next": "2"})})
        await app.until(lambda: app.facts.state == "running")
        await noted.begun(2)
        assert app.server.said[-2:] == ["hold", "vacate: next is about to be replaced"]
        noted.clear("wait")
        await app.until(lambda: app.facts.state == "idle")


async def test_the_dev_server_is_restarted_where_only_the_lock_file_told_of_another_version(
    app: App, noted: Noted
) -> None:
    (noted.log / "next").write_text("16.4.5")
    async with app.running(serving):
        await app.put({**files("one", "next"), "package-lock.json": b"{}"})
        (noted.log / "next").write_text("16.4.6")
        await app.put({"package-lock.json": b"[]"})
        assert app.server.said[-1] == "restart: packages that it has loaded were replaced: next 16.4.5 → 16.4.6"
        await app.put(files("one", "next", "b"))
        assert app.server.said[-1] == "release", "nothing of it was replaced"


async def test_a_lock_file_stays_the_backends(app: App, noted: Noted) -> None:
    noted.set("lock")
    async with app.running(serving):
        await app.put({**files("one", "a"), "package-lock.json": b"{}"})
        assert (app.place.workspace / "package-lock.json").read_bytes() == b"{}"
        await app.put(files("one", "a", "b"), "package-lock.json")
        assert not (app.place.workspace / "package-lock.json").exists()


async def test_what_was_lent_to_npm_as_a_lock_file_is_no_lock_file_after_a_kill(tmp_path: Path, noted: Noted) -> None:
    app = another(tmp_path, noted)
    async with app.running(serving):
        await app.put(files("one", "a", "b"))
        (app.modules / ".package-lock.json").write_text("{}")
        noted.set("wait")
        app.backend.put(dict(files("two", "a")))
        await noted.begun(2)
        assert (app.place.workspace / "package-lock.json").read_text() == "{}"
    noted.clear("wait")

    await another(tmp_path, noted).dependencies().settle(frozenset({"package.json"}))

    assert len(noted.runs) == 3
    assert not (app.place.workspace / "package-lock.json").exists()
