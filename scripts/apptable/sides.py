"""The two ways to run an app that are compared: bare, as its author does, and through the agent.

Each runs in a folder of its own and has ended, with all that it started, when its block has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import aiohttp

from control.dev.workspace import installers_path, make_project, template_modules
from scripts.apptable import folders, making, managers, patience, programs
from scripts.apptable.making import App
from scripts.apptable.rows import Row, problem_matches
from tests.peers.stack import Backend, Stack, backend, stack

Ports = Callable[[], int]
Changes = Mapping[str, bytes | str | None]

HEALTH_SECONDS = 8.0
"""How long the agent may say that it gave up before a wait for the page ends."""
READY_SECONDS = 25.0
"""How long the page may take after the agent has nothing missing."""


class Side(Protocol):
    url: str
    folder: Path
    began: float
    """When it was started, by the monotonic clock; installing counts."""

    async def put(self, changes: Changes) -> None:
        """Change the app's files, and its packages where package.json is among them."""

    async def problems(self) -> list[dict[str, Any]] | None:
        """What /status says; None where there is no such thing."""

    async def given_up(self) -> str:
        """Why the first page will not come; empty while it may."""

    async def evidence(self) -> str:
        """The end of the log, and what else explains a failure."""


@dataclass
class Bare:
    row: Row
    place: Path
    folder: Path
    url: str
    child: asyncio.subprocess.Process
    began: float
    installed: float
    """Seconds that the installation took."""

    async def put(self, changes: Changes) -> None:
        """Packages first: a person installs one, and then imports it."""
        packages = {path: content for path, content in changes.items() if PurePosixPath(path).name == "package.json"}
        if packages:
            folders.write(self.folder, packages)
            await making.install_in(self.row, self.place, self.folder)
        folders.write(self.folder, changes)

    async def problems(self) -> None:
        return None

    async def given_up(self) -> str:
        ended = self.child.returncode
        return "" if ended is None else f"the dev script ended with status {ended}"

    async def evidence(self) -> str:
        return programs.tail(self.place / "dev.log")


@asynccontextmanager
async def bare(made: App, place: Path, ports: Ports) -> AsyncIterator[Bare]:
    """Installed and started; again in the same `place` it only starts. Raises programs.Failed."""
    row, folder = made.row, place / "app"
    began = time.monotonic()
    if not folder.is_dir():
        folders.write(folder, made.files)
        if row.packages:
            await making.install_in(row, place, folder)
    installed = time.monotonic() - began
    port = str(ports())
    command = row.dev or managers.dev(row.manager, row.arguments)
    environ = programs.environment(making.tools(row.manager), PORT=port)
    filled = [word.replace("{port}", port) for word in command]
    async with programs.started(filled, folder, place / "dev.log", environ) as child:
        yield Bare(row, place, folder, f"http://localhost:{port}", child, began, installed)


@dataclass
class Ours:
    folder: Path
    url: str
    stack: Stack
    backend: Backend
    began: float
    _unwell_since: float | None = None
    _ready_since: float | None = None

    async def put(self, changes: Changes) -> None:
        present = {path: content for path, content in changes.items() if content is not None}
        await self.backend.put(_sendable(present), tuple(path for path, content in changes.items() if content is None))

    async def problems(self) -> list[dict[str, Any]]:
        problems: list[dict[str, Any]] = (await self._status()).get("problems", [])
        return problems

    async def given_up(self) -> str:
        if self.stack.agent.child.returncode is not None:
            return f"the agent ended with status {self.stack.agent.child.returncode}"
        if not (status := await self._status()):
            return ""
        now = time.monotonic()
        well = status["health"]["ok"]
        self._unwell_since = None if well else self._unwell_since or now
        self._ready_since = (self._ready_since or now) if not status["missing"] else None
        if self._unwell_since is not None and now - self._unwell_since > patience.seconds(HEALTH_SECONDS):
            return f"the agent gave up: {status['health']['reason']}"
        if self._ready_since is not None and now - self._ready_since > patience.seconds(READY_SECONDS):
            return "the agent is ready, and the page does not come"
        return ""

    async def _status(self) -> dict[str, Any]:
        try:
            return await self.stack.status(5)
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def evidence(self) -> str:
        status = await self._status()
        said = [
            f"  {item.get('source')} {item.get('file')}: {item.get('message')}" for item in status.get("problems", [])
        ]
        server = {key: status.get(key) for key in ("phase", "missing", "dev_server", "install") if key in status}
        return "\n".join(
            [
                f"status: {str(server)[:900]}",
                "problems:",
                *(line[:600] for line in said),
                f"notes: {str(status.get('notes'))[:900]}",
                "agent:",
                self._log_tail(),
            ]
        )

    def _log_tail(self) -> str:
        """Of the agent's log; why there is none where it cannot be read, so that the row's own reason is not lost."""
        try:
            return self.stack.tail(6)[:3000]
        except OSError as error:
            return f"(no log: {error.strerror})"

    async def has_problem(self, pattern: str) -> bool:
        """Whether /status says it: as a problem, or as a note where it stands in nothing's way."""
        status = await self._status()
        notes = [
            *status.get("notes", ()),
            *({"message": text} for text in (status.get("dev_server") or {}).get("notes", ())),
        ]
        return problem_matches(pattern, [*status.get("problems", ()), *notes])


def _sendable(files: Mapping[str, bytes | str]) -> dict[str, str | bytes]:
    sendable: dict[str, str | bytes] = {}
    for path, content in files.items():
        try:
            sendable[path] = content if isinstance(content, str) else content.decode()
        except UnicodeDecodeError:
            sendable[path] = content
    return sendable


@asynccontextmanager
async def ours(made: App, place: Path, ports: Ports) -> AsyncIterator[Ours]:
    """A backend that has the app's files, and an agent on a new workspace, just started."""
    workspace = new_workspace(place)
    environ = programs.environment(installers_path())
    async with backend(place, ports()) as api:
        start = {path: content for path, content in made.files.items() if made.row.first.get(path, "") is not None}
        start |= {path: text.encode() for path, text in made.row.first.items() if text is not None}
        await api.put(_sendable(start))
        began = time.monotonic()
        async with stack(place, workspace, api.url, ports, **environ, SLEEP_MODE="off") as running:
            yield Ours(workspace, running.url, running, api, began)


def new_workspace(place: Path) -> Path:
    """A workspace as a machine has it before the app's first file."""
    workspace = place / "workspace"
    make_project(workspace, template_modules())
    return workspace
