"""The real Next.js, whose folders of routes move while it runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from agent.clock import Clock
from agent.devserver.supervisor import Supervisor
from agent.process.find import is_free
from tests.peers.dev_server import Board, applied, living

pytestmark = [pytest.mark.next, pytest.mark.timeout(240)]

SEEN_SECONDS = 60.0
NEXT = "node_modules/next/dist/bin/next"
LAYOUT = "export default function L({ children }) {\n  return <html><body>{children}</body></html>;\n}\n"


def page(word: str) -> str:
    return f"export default function Page() {{\n  return <p>{word}</p>;\n}}\n"


def routes(folder: str, word: str) -> dict[str, str]:
    if folder.endswith("pages"):
        return {f"{folder}/index.jsx": page(word)}
    return {f"{folder}/layout.jsx": LAYOUT, f"{folder}/page.jsx": page(word)}


class App:
    def __init__(self, folder: Path, port: int, board: Board, supervisor: Supervisor) -> None:
        self.folder = folder
        self.port = port
        self.board = board
        self.supervisor = supervisor

    def apply(self, written: dict[str, str], deleted: tuple[str, ...] = ()) -> None:
        """One set, as the sync moves it in: staged outside of the folder, written first, empty folders removed."""
        for path, text in written.items():
            staged = self.folder.with_name(f"{self.folder.name}.staged")
            staged.write_text(text, "utf-8")
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            staged.rename(self.folder / path)
        for path in deleted:
            (self.folder / path).unlink()
            for above in (self.folder / path).parents:
                if above == self.folder or any(above.iterdir()):
                    break
                above.rmdir()
        self.supervisor.files_changed(applied(*written, deleted=deleted))

    async def shows(self, word: str, path: str = "/") -> None:
        """Wait until `path` answers with `word`."""
        last = ""
        try:
            async with asyncio.timeout(SEEN_SECONDS), aiohttp.ClientSession() as session:
                while True:
                    try:
                        async with session.get(f"http://127.0.0.1:{self.port}{path}") as response:
                            last = f"{response.status}: {await response.text()}"
                            if response.status == 200 and word in last:
                                return
                    except aiohttp.ClientError as error:
                        last = str(error)
                    await self.pause()
        except TimeoutError:
            raise AssertionError(f"{path} never showed {word}: {last[:300]}, {self.board.now}") from None

    async def pause(self) -> None:
        """Until something is told, or a moment."""
        self.board.changed.clear()
        try:
            async with asyncio.timeout(0.2):
                await self.board.changed.wait()
        except TimeoutError:
            pass


Run = Callable[..., AbstractAsyncContextManager[App]]


@pytest.fixture
def run(
    workspace: Callable[..., Path], free_port: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr("tests.peers.dev_server.WAIT_SECONDS", 60.0)

    @asynccontextmanager
    async def start(files: dict[str, str], *, bundler: str = "--turbopack") -> AsyncIterator[App]:
        folder, port, board = workspace(), free_port(), Board()
        shutil.rmtree(folder / "app", ignore_errors=True)
        supervisor = Supervisor(
            command=("node", NEXT, "dev", bundler, "-p", str(port), "-H", "127.0.0.1"),
            workspace=folder,
            state_dir=tmp_path / "state",
            port=port,
            clock=Clock(chance=lambda: 0.0),
            publish=board.publish,
            problems=board.problems,
            environ=os.environ,
        )
        app = App(folder, port, board, supervisor)
        app.apply(files)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            try:
                await board.state("ready")
                yield app
            finally:
                session = board.now.pid
                await supervisor.stop()
        assert session is None or not living(session)
        assert is_free(port)

    return start


@pytest.mark.parametrize(
    ("before", "after"),
    [("app", "src/app"), ("src/app", "app"), ("pages", "app"), ("app", "pages"), ("pages", "src/pages")],
)
async def test_routes_that_move_to_another_folder_are_served_from_there(run: Run, before: str, after: str) -> None:
    old = routes(before, "the first")
    async with run(old) as app:
        await app.shows("the first")
        app.apply(routes(after, "the second"), tuple(old))
        await app.shows("the second")
        app.apply(routes(after, "the third"))  # and it is watched
        await app.shows("the third")

        assert (app.board.now.restarts, app.board.now.crashes) == (1, 0)
        assert any(f"the routes are in {after} now" in facts.reason for facts in app.board.states)


async def test_a_webpack_server_is_restarted_as_well(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old, bundler="--webpack") as app:
        await app.shows("the first")
        app.apply(routes("src/app", "the second"), tuple(old))
        await app.shows("the second")


async def test_a_page_deleted_in_one_set_and_written_below_src_in_the_next_is_served(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old) as app:
        app.apply({}, tuple(old))
        app.apply(routes("src/app", "the second"))
        await app.shows("the second")
        assert app.board.now.crashes == 0


@pytest.mark.parametrize(("first", "second"), [("app", "pages"), ("pages", "app"), ("src/app", "src/pages")])
async def test_the_first_folder_of_the_other_router_is_served(run: Run, first: str, second: str) -> None:
    def other(word: str) -> dict[str, str]:
        if second.endswith("pages"):
            return {f"{second}/other.jsx": page(word)}
        return {f"{second}/layout.jsx": LAYOUT, f"{second}/other/page.jsx": page(word)}

    async with run(routes(first, "the first")) as app:
        app.apply(other("the second"))
        await app.shows("the second", "/other")
        await app.shows("the first")
        app.apply({}, tuple(other("")))  # gone again: the first one stands alone
        await app.shows("the first")
        assert app.board.now.crashes == 0


async def test_a_folder_that_comes_back_to_its_place_needs_no_restart(run: Run) -> None:
    old = routes("app", "the first")
    async with run(old) as app:
        await app.shows("the first")
        app.apply({}, tuple(old))
        app.apply(routes("app", "the second"))
        await app.shows("the second")
        app.apply(routes("app", "the third"))
        await app.shows("the third")

        assert app.board.now.restarts == 0
