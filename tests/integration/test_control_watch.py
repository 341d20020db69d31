"""A real folder, real saves as editors make them, and what becomes of them in the set."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.serve import Options
from control.watch import watch as module
from tests.peers.control import APP_ID, LINES, Client, plane


class Watched:
    """The folder, and the set that is made of it."""

    def __init__(self, client: Client, root: Path) -> None:
        self.client = client
        self.root = root

    async def set(self) -> tuple[dict[str, str], int]:
        answer = await self.client.files(LINES)
        return {line["filepath"]: line["content"] for line in answer.lines()}, int(answer.headers["Preview-Revision"])

    async def becomes(self, **expected: str) -> int:
        """Wait until the set is as expected; returns its revision. Held requests are what wakes this."""
        wanted = {path.replace("__", "/").replace("_", "."): text for path, text in expected.items()}
        async with asyncio.timeout(15):
            while True:
                answer = await self.client.files(LINES)
                files = {line["filepath"]: line["content"] for line in answer.lines()}
                if files == wanted:
                    return int(answer.headers["Preview-Revision"])
                await self.client.files({"If-None-Match": answer.headers["ETag"], "Prefer": "wait=10"})

    def save(self, path: str, text: str) -> None:
        """As most editors do: a temporary file beside it, renamed over it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + ".tmp.4711")
        beside.write_text(text)
        beside.rename(target)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    root = tmp_path / "app"
    (root / "app").mkdir(parents=True)
    (root / "app/page.tsx").write_text("1")
    (root / ".env").write_text("A=1")
    for left_out in (".git/HEAD", "node_modules/x/y.js", ".next/z", "next-env.d.ts"):
        (root / left_out).parent.mkdir(parents=True, exist_ok=True)
        (root / left_out).write_text("not the app's")
    async with plane(tmp_path, Options(watch=(APP_ID, root))) as running:
        await running.files()  # answered once the folder is watched and its first sweep done
        yield Watched(running, root)


async def test_the_first_answer_is_the_folder(watched: Watched) -> None:
    assert await watched.set() == ({"app/page.tsx": "1", ".env": "A=1"}, 1)


async def test_a_save_by_rename_one_in_place_and_a_delete_are_one_revision_each(watched: Watched) -> None:
    first = {"_env": "A=1"}
    watched.save("app/page.tsx", "2")
    assert await watched.becomes(app__page_tsx="2", **first) == 2
    (watched.root / "app/page.tsx").write_text("3")
    assert await watched.becomes(app__page_tsx="3", **first) <= 4  # truncated and written: two looks at most
    before = (await watched.set())[1]
    (watched.root / "app/page.tsx").unlink()
    assert await watched.becomes(**first) == before + 1


async def test_a_burst_is_a_revision_and_not_one_for_each_file(watched: Watched) -> None:
    for number in range(20):
        watched.save(f"lib/f{number}.ts", "x")
    expected = {f"lib__f{number}_ts": "x" for number in range(20)}
    revision = await watched.becomes(app__page_tsx="1", _env="A=1", **expected)
    assert revision <= 5  # one, unless this machine needs more than the debounce for twenty saves


async def test_a_renamed_folder_takes_its_files_along(watched: Watched) -> None:
    watched.save("a/b/c.ts", "x")
    before = await watched.becomes(app__page_tsx="1", _env="A=1", a__b__c_ts="x")
    (watched.root / "a").rename(watched.root / "z")
    assert await watched.becomes(app__page_tsx="1", _env="A=1", z__b__c_ts="x") == before + 1
    watched.save("z/b/c.ts", "y")
    await watched.becomes(app__page_tsx="1", _env="A=1", z__b__c_ts="y")


async def test_a_file_becomes_a_folder_and_a_folder_a_file(watched: Watched) -> None:
    (watched.root / "app/page.tsx").unlink()
    watched.save("app/page.tsx/inner.ts", "x")
    await watched.becomes(app__page_tsx__inner_ts="x", _env="A=1")
    shutil.rmtree(watched.root / "app")
    (watched.root / "app").write_text("y")
    await watched.becomes(app="y", _env="A=1")


async def test_a_folder_that_is_moved_in_comes_with_all_it_holds_as_one_revision(
    watched: Watched, tmp_path: Path
) -> None:
    (tmp_path / "new/deep/er").mkdir(parents=True)
    for name in "xyz":
        (tmp_path / f"new/deep/er/{name}.ts").write_text(name)
    (tmp_path / "new").rename(watched.root / "new")
    expected = {f"new__deep__er__{name}_ts": name for name in "xyz"}
    assert await watched.becomes(app__page_tsx="1", _env="A=1", **expected) == 2


async def test_what_is_not_the_apps_and_links_make_no_revision(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.ts").write_text("secret")
    (watched.root / "link").symlink_to(tmp_path / "outside")
    (watched.root / "link.ts").symlink_to(tmp_path / "outside/secret.ts")
    (watched.root / ".git/HEAD").write_text("other")
    (watched.root / "page.tsx~").write_text("backup")
    watched.save("last.ts", "x")
    assert await watched.becomes(app__page_tsx="1", _env="A=1", last_ts="x") <= 3
    (tmp_path / "outside/secret.ts").write_text("still")
    watched.save("last.ts", "y")
    await watched.becomes(app__page_tsx="1", _env="A=1", last_ts="y")


async def test_a_file_that_grows_over_the_limit_stays_as_it_was(watched: Watched) -> None:
    with (watched.root / "app/page.tsx").open("wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    watched.save("last.ts", "x")
    await watched.becomes(app__page_tsx="1", _env="A=1", last_ts="x")


async def test_the_files_of_a_watched_app_are_changed_in_the_folder_alone(watched: Watched) -> None:
    answer = await watched.client.put_raw({"files": [{"filepath": "a", "content": ""}]})
    assert answer.status == 409
    assert "--watch" in answer.json()["error"]


async def test_a_folder_that_goes_away_deletes_nothing_and_is_taken_up_when_it_is_back(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MISSING_PAUSE", 0.05)
    monkeypatch.setattr(module, "SCAN_SECONDS", 0.2)
    watched.save("app/page.tsx", "2")  # ends the wait that began with the longer time
    await watched.becomes(app__page_tsx="2", _env="A=1")
    watched.root.rename(tmp_path / "elsewhere")
    await asyncio.sleep(0.6)
    assert (await watched.set())[0] == {"app/page.tsx": "2", ".env": "A=1"}
    (tmp_path / "elsewhere/app/page.tsx").write_text("3")
    (tmp_path / "elsewhere").rename(watched.root)
    await watched.becomes(app__page_tsx="3", _env="A=1")
    watched.save("app/page.tsx", "4")
    await watched.becomes(app__page_tsx="4", _env="A=1")


async def test_what_has_no_event_is_found_by_the_next_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCAN_SECONDS", 0.2)
    monkeypatch.setattr(module.Watch, "_events", deaf)
    root = tmp_path / "app"
    root.mkdir()
    async with plane(tmp_path, Options(watch=(APP_ID, root))) as running:
        await running.files()
        watched = Watched(running, root)
        watched.save("a.ts", "1")
        await watched.becomes(a_ts="1")
        stamp = (root / "a.ts").stat()
        watched.save("a.ts", "2")
        os.utime(root / "a.ts", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a checkout that keeps times does
        await watched.becomes(a_ts="2")


async def deaf(*_: object) -> str:
    await asyncio.sleep(module.SCAN_SECONDS)
    return "timeout"


async def test_a_restart_brings_the_set_to_the_folder_without_touching_what_is_the_same(tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    for name in ("same", "other", "gone"):
        (root / name).write_text("1")
    options = Options(watch=(APP_ID, root))
    async with plane(tmp_path, options) as running:
        assert (await running.files()).headers["Preview-Revision"] == "1"
    async with plane(tmp_path, options) as running:
        assert (await running.files()).headers["Preview-Revision"] == "1"
    (root / "other").write_text("2")
    (root / "gone").unlink()
    async with plane(tmp_path, options) as running:
        answer = await running.files(LINES)
        assert [(line["filepath"], line["content"], line["revision"]) for line in answer.lines()] == [
            ("other", "2", 2),
            ("same", "1", 1),
        ]
