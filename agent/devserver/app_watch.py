"""Listens to one running dev server: where its pages are, what it compiles, on which port it listens.

Of one process, from its start to its end. What is heard is handed on as events and kept as facts; both are the
supervisor's. What must not live here: whether it answers (health.py), and what follows from it (lifecycle.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiohttp

from agent.devserver.address import Address
from agent.devserver.facts import App
from agent.devserver.frameworks.framework import Lines, Place
from agent.devserver.launch import Launch, Launcher
from agent.devserver.nextjs import hmr_socket, readiness
from agent.devserver.nextjs.hmr_messages import Compile
from agent.process import find

RESTART_SECONDS = 2.0  # Next notices a changed configuration within half a second, and is back after another one
PORT_EVERY = 1.0
PORT_LOOKS = 5
"""For so many looks in a row it listens elsewhere: an app's server may open several ports, one after the other."""


class AppWatch:
    """Only for the loop's own thread. `changed` tells of a new fact, `framed` of each frame of its socket, and
    `dropped` that the socket is gone: the server restarts itself or ends.
    """

    def __init__(
        self,
        launch: Launch,
        launcher: Launcher,
        *,
        workspace: Path,
        port: int,
        pid: int,
        changed: Callable[[], None],
        framed: Callable[[str], None],
        dropped: Callable[[], None],
    ) -> None:
        self.launch = launch
        self.compile = Compile()
        self.address = Address()
        self.stranded: str | None = None
        """Why nothing is found where the app is looked for, once that is clear."""
        self._launcher = launcher
        self._workspace = str(workspace)
        self._port = port
        self._pid = pid
        self._changed = changed
        self._framed = framed
        self._was_dropped = dropped
        self._lines = Lines()
        self._texts: tuple[str, ...] = ()
        self._dropped = asyncio.Event()
        self._edited = asyncio.Event()

    async def open(self, session: aiohttp.ClientSession) -> None:
        """Return when the first page was answered; where it is, is known then."""
        async with asyncio.TaskGroup() as waiting:
            looking = waiting.create_task(self._look_for_port())
            self.address = await self._first_page(session)
            looking.cancel()
        self.stranded = None

    async def listen(self, session: aiohttp.ClientSession) -> None:
        """Keep what it compiles up to date, until cancelled."""
        framework = self.launch.framework
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._find_again(session))
            if framework.lines is not None:
                watches.create_task(self._look_for_mended(session))
            if framework.socket is not None:
                watches.create_task(
                    hmr_socket.listen(
                        session,
                        self._port,
                        framework.socket,
                        prefix=lambda: self.address.prefix,
                        heard=self._read_frame,
                        dropped=self._socket_dropped,
                    )
                )

    def heard(self, line: str) -> None:
        """One line of its output."""
        read = self.launch.framework.lines
        if read is not None:
            self._lines = read(line, self._lines, Place(self._workspace, self.launch.folder))
            if self._lines.compile != self.compile:
                self.compile = self._lines.compile
                self._changed()

    def files_changed(self, *, config: bool) -> None:
        """Files of the app were written or deleted: what did not compile may do so now. `config`: its configuration
        is among them.
        """
        self._edited.set()
        if config:
            self._dropped.set()

    async def _look_for_mended(self, session: aiohttp.ClientSession) -> None:
        """Vite says nothing where a module compiles at last that no page has: each is asked for after an edit."""
        folder = self.launch.folder
        while True:
            await self._edited.wait()
            self._edited.clear()
            for error in self.compile.errors:
                below = (error.file or "").removeprefix(f"{folder}/" if folder else "")
                if not below or not await readiness.compiles(
                    session, self._port, f"{self.address.prefix}/{quote(below)}"
                ):
                    continue
                left = tuple(other for other in self.compile.errors if other != error)
                self.compile = replace(self.compile, errors=left)
                self._lines = replace(self._lines, compile=self.compile)
                self._changed()

    async def _first_page(self, session: aiohttp.ClientSession) -> Address:
        self._texts = tuple(self._launcher.config_texts(self.launch))
        return await readiness.first_page(session, self._port, self._texts, self.launch.framework.base)

    async def _find_again(self, session: aiohttp.ClientSession) -> None:
        """Where its configuration changed: that may say another path now, once the server has read it."""
        while True:
            await self._dropped.wait()
            await asyncio.sleep(RESTART_SECONDS)
            self._dropped.clear()
            if self._texts != tuple(self._launcher.config_texts(self.launch)):
                self.address = await self._first_page(session)
                self._changed()

    async def _look_for_port(self) -> None:
        """Find out whether it listens on another port only."""
        looks = 0
        while True:
            await asyncio.sleep(PORT_EVERY)
            ports = await asyncio.to_thread(find.listening, self._pid)
            looks = looks + 1 if ports and self._port not in ports else 0
            if looks >= PORT_LOOKS:
                shown = " and ".join(map(str, sorted(ports)[:3]))
                self.stranded = (
                    f"the app's server listens on port {shown}, where nobody looks for it: "
                    "have it listen on process.env.PORT"
                )
                self._changed()

    def _socket_dropped(self) -> None:
        self._dropped.set()
        self.compile = replace(self.compile, compiling=False)
        self._was_dropped()
        self._changed()

    def _read_frame(self, frame: str) -> None:
        socket = self.launch.framework.socket
        if socket is not None:
            exists = self._launcher.exists
            self._framed(frame)
            self.compile = socket.read(frame, self.compile, exists, self._workspace, self.launch.folder)
            self._changed()


def shown(launch: Launch | None, watch: AppWatch | None) -> App:
    """What /status says of what runs, or ran last."""
    if launch is None:
        return App()
    return App(
        framework=launch.framework.name,
        version=launch.version,
        command=launch.command.shown,
        folder=launch.folder,
        notes=launch.notes,
        start=watch.address.start if watch else "/",
        checks_host=launch.framework.checks_host,
        checks_origin=launch.framework.checks_origin,
        stranded=watch.stranded if watch else None,
    )
