"""Observes one running dev server: the paths of its pages, what it compiles, and on which port it listens.

Invariant: one `AppWatch` belongs to one process.

What must not live here: whether the server answers (`health`), and what follows from that (`lifecycle`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiohttp

from agent.devserver.address import Address
from agent.devserver.facts import AppFacts
from agent.devserver.frameworks.framework import AppLocation, OutputState
from agent.devserver.launch import Launch, Launcher
from agent.devserver.nextjs import hmr_socket, readiness
from agent.devserver.nextjs.hmr_messages import Compile
from agent.process import find

RESTART_SECONDS = 2.0
"""Next notices a changed configuration within half a second, and answers again after another second."""
PORT_EVERY = 1.0
PORT_CHECKS = 5
"""So many checks in a row must find another port only: an app's server may open several ports one after the other."""


class AppWatch:
    """Only for the loop's own thread. `changed` is called for a new fact, `on_message` for each message of the
    hot-reload socket, and `on_drop` when that socket drops: the server restarts itself or exits.
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
        on_message: Callable[[str], None],
        on_drop: Callable[[], None],
    ) -> None:
        self.launch = launch
        self.compile = Compile()
        self.address = Address()
        self.wrong_port: str | None = None
        """The problem that it listens on another port only, once that is certain."""
        self._launcher = launcher
        self._workspace = str(workspace)
        self._port = port
        self._pid = pid
        self._changed = changed
        self._on_message = on_message
        self._on_drop = on_drop
        self._output = OutputState()
        self._config_texts: tuple[str, ...] = ()
        self._may_have_moved = asyncio.Event()
        self._edited = asyncio.Event()

    async def open(self, session: aiohttp.ClientSession) -> None:
        """Return when the first page was answered. `address` is known then."""
        async with asyncio.TaskGroup() as waiting:
            checking = waiting.create_task(self._check_port())
            self.address = await self._first_page(session)
            checking.cancel()
        self.wrong_port = None

    async def listen(self, session: aiohttp.ClientSession) -> None:
        """Keep `compile` and `address` up to date, until cancelled."""
        framework = self.launch.framework
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._renew_address(session))
            if framework.lines is not None:
                watches.create_task(self._recheck_errors(session))
            if framework.socket is not None:
                watches.create_task(
                    hmr_socket.listen(
                        session,
                        self._port,
                        framework.socket,
                        prefix=lambda: self.address.prefix,
                        on_message=self._read_message,
                        on_drop=self._socket_dropped,
                    )
                )

    def read_line(self, line: str) -> None:
        """Read one line of its output."""
        read = self.launch.framework.lines
        if read is not None:
            self._output = read(line, self._output, AppLocation(self._workspace, self.launch.folder))
            if self._output.compile != self.compile:
                self.compile = self._output.compile
                self._changed()

    def files_changed(self, *, config: bool) -> None:
        """Files of the app changed, so errors may be gone. `config`: its configuration is among them."""
        self._edited.set()
        if config:
            self._may_have_moved.set()

    async def _recheck_errors(self, session: aiohttp.ClientSession) -> None:
        """Request each failed module after an edit: Vite does not report that one without a page compiles again."""
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
                self._output = replace(self._output, compile=self.compile)
                self._changed()

    async def _first_page(self, session: aiohttp.ClientSession) -> Address:
        self._config_texts = tuple(self._launcher.config_texts(self.launch))
        return await readiness.first_page(session, self._port, self._config_texts, self.launch.framework.base)

    async def _renew_address(self, session: aiohttp.ClientSession) -> None:
        """Find the address again after the configuration changed, once the server has read it."""
        while True:
            await self._may_have_moved.wait()
            await asyncio.sleep(RESTART_SECONDS)
            self._may_have_moved.clear()
            if self._config_texts != tuple(self._launcher.config_texts(self.launch)):
                self.address = await self._first_page(session)
                self._changed()

    async def _check_port(self) -> None:
        """Set `wrong_port` when it listens on another port only."""
        checks = 0
        while True:
            await asyncio.sleep(PORT_EVERY)
            ports = await asyncio.to_thread(find.listening_ports, self._pid)
            checks = checks + 1 if ports and self._port not in ports else 0
            if checks >= PORT_CHECKS:
                shown = " and ".join(map(str, sorted(ports)[:3]))
                self.wrong_port = (
                    f"the app's server listens on port {shown} and not on the preview's port: "
                    "have it listen on process.env.PORT"
                )
                self._changed()

    def _socket_dropped(self) -> None:
        self._may_have_moved.set()
        self.compile = replace(self.compile, compiling=False)
        self._on_drop()
        self._changed()

    def _read_message(self, message: str) -> None:
        socket = self.launch.framework.socket
        if socket is not None:
            exists = self._launcher.exists
            self._on_message(message)
            self.compile = socket.read(message, self.compile, exists, self._workspace, self.launch.folder)
            self._changed()


def app_facts(launch: Launch | None, watch: AppWatch | None) -> AppFacts:
    """What /status shows about the app that runs, or ran last."""
    if launch is None:
        return AppFacts()
    return AppFacts(
        framework=launch.framework.name,
        version=launch.version,
        command=launch.command.shown,
        folder=launch.folder,
        notes=launch.notes,
        start=watch.address.start if watch else "/",
        checks_host=launch.framework.checks_host,
        checks_origin=launch.framework.checks_origin,
        wrong_port=watch.wrong_port if watch else None,
    )
