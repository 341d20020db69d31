"""The real Next.js under a supervisor, without a gateway: a workspace that changes set by set, and what it shows."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp

from agent.clock import Clock
from agent.devserver.supervisor import Supervisor
from agent.process.find import is_free
from tests.peers.dev_server import Board, applied, living

NEXT = "node_modules/next/dist/bin/next"
SEEN_SECONDS = 120.0
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


def runner(workspace: Callable[..., Path], free_port: Callable[[], int], state_dir: Path) -> Run:
    """Start Next in a new workspace that has the template's packages and configuration, and `files`. `prepare` changes
    the folder before, `shown`: wait for its first page. At the end nothing of it may be left.
    """

    @asynccontextmanager
    async def start(
        files: dict[str, str],
        *,
        bundler: str = "--turbopack",
        prepare: Callable[[Path], None] = lambda _: None,
        shown: bool = True,
        environ: dict[str, str] | None = None,
    ) -> AsyncIterator[App]:
        folder, port, board = workspace(), free_port(), Board()
        shutil.rmtree(folder / "app", ignore_errors=True)
        prepare(folder)
        told = ("/usr/bin/env", *(f"{name}={value}" for name, value in (environ or {}).items()))
        supervisor = Supervisor(
            command=(*told, "node", NEXT, "dev", bundler, "-p", str(port), "-H", "127.0.0.1"),
            workspace=folder,
            state_dir=state_dir,
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
                if shown:
                    await board.state("ready")
                yield app
            finally:
                session = board.now.pid
                await supervisor.stop()
        assert session is None or not living(session)
        assert is_free(port)

    return start
