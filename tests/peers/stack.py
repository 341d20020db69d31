"""The whole loop as its users start it: the control plane and the agent as processes, talked to over their ports.

For tests and benchmarks that need the real thing. Every wait has a deadline, and whatever happens inside, both
processes have ended when the context has.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

ROOT = Path(__file__).parents[2]
APP = "demo"
KEY = f"a-key-for-the-tests-{secrets.token_hex(4)}"
"""Nobody else's: what looks for it in all processes must not find it in another run of the tests."""
READY_SECONDS = 120.0


class Process:
    """One of our programs, its output in a file."""

    def __init__(self, *arguments: str, log: Path, environ: Mapping[str, str]) -> None:
        self.arguments = arguments
        self.log = log
        self.environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | dict(
            environ
        )
        self._child: asyncio.subprocess.Process | None = None

    @property
    def child(self) -> asyncio.subprocess.Process:
        assert self._child is not None, "not started"
        return self._child

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self.arguments, cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 20) -> int:
        """Signal the process and wait for its end; the exit status."""
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)
        async with asyncio.timeout(within):
            return await self.child.wait()

    async def end(self) -> None:
        """Have it gone, in order if it can be: an agent that is killed leaves its dev server behind."""
        if self._child is not None and self._child.returncode is None:
            with suppress(TimeoutError):
                await self.stop()
            await self.kill()

    async def kill(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()


@dataclass
class Stack:
    """`url` is the agent's public port, `api` the backend's address as the agent is told it."""

    folder: Path
    workspace: Path
    api: str
    port: int
    dev_port: int
    agent_port: int
    session: aiohttp.ClientSession
    environ: dict[str, str] = field(default_factory=dict)
    agent: Process = field(init=False)

    def __post_init__(self) -> None:
        settings = {
            "APP_ID": APP,
            "API_URL": self.api,
            "API_KEY": KEY,
            "WORKSPACE": str(self.workspace),
            "STATE_DIR": str(self.folder / "state"),
            "PORT": str(self.port),
            "DEV_PORT": str(self.dev_port),
            "AGENT_PORT": str(self.agent_port),
        }
        self.agent = Process("agent", "run", log=self.folder / "agent.log", environ=settings | self.environ)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.agent_port}"

    async def status(self, patience: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(patience), self.session.get(f"{self.admin}/status") as answer:
            status: dict[str, Any] = orjson.loads(await answer.read())
            return status

    async def until(
        self, wanted: Callable[[dict[str, Any]], bool], within: float = 30, patience: float = 10
    ) -> dict[str, Any]:
        """The first status that is as wanted, as the agent's own events tell it; fails with the last one seen."""
        status: dict[str, Any] = {}
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                status = await self.status(patience)
                if wanted(status):
                    return status
            except aiohttp.ClientError:
                assert self.agent.child.returncode is None, f"the agent ended:\n{self.tail()}"
            await asyncio.sleep(0.05)  # the agent may not listen yet, so there is no event to await
        raise AssertionError(f"not within {within} s; last status: {status}\n{self.tail()}")

    async def ready(self, within: float = READY_SECONDS) -> dict[str, Any]:
        return await self.until(lambda status: not status["missing"], within)

    async def applied(self, revision: int, within: float = 30) -> dict[str, Any]:
        return await self.until(lambda status: (status["sync"]["revision"] or 0) >= revision, within)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.agent.log.read_text("utf-8", "replace").splitlines()[-lines:])


@dataclass
class Backend:
    """The reference control plane as a process. `put` is one revision."""

    url: str
    process: Process
    session: aiohttp.ClientSession

    async def start(self) -> None:
        """Also again, after its process was stopped."""
        await self.process.start()
        await _until_listening(int(self.url.rpartition(":")[2]), self.process)

    @property
    def files_url(self) -> str:
        return f"{self.url}/api/vendor/apps/{APP}/files"

    async def put(self, files: Mapping[str, str | bytes], deleted: tuple[str, ...] = ()) -> int:
        """Upsert and delete in one call; the revision that it made."""
        entries = [_entry(path, content) for path, content in files.items()]
        body = orjson.dumps({"files": entries, "deleted": deleted})
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        async with asyncio.timeout(30), self.session.put(self.files_url, data=body, headers=headers) as answer:
            said = orjson.loads(await answer.read())
            assert answer.status == 200, said
            revision: int = said["revision"]
            return revision


def _entry(path: str, content: str | bytes) -> dict[str, str]:
    if isinstance(content, str):
        return {"filepath": path, "content": content}
    return {"filepath": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


@asynccontextmanager
async def backend(folder: Path, port: int, *arguments: str) -> AsyncIterator[Backend]:
    """A running control plane with one empty app, APP, whose key is KEY. `arguments` are further ones of its own."""
    process = Process(
        *("control", "serve", "--db", str(folder / "control.db"), "--port", str(port), "--app", APP, *arguments),
        log=folder / "control.log",
        environ={"API_KEY": KEY},
    )
    async with aiohttp.ClientSession() as session:
        running = Backend(f"http://127.0.0.1:{port}", process, session)
        try:
            await running.start()
            yield running
        finally:
            await process.kill()


@asynccontextmanager
async def stack(
    folder: Path, workspace: Path, api: str, free_port: Callable[[], int], **environ: str
) -> AsyncIterator[Stack]:
    """A running agent. It has ended when the context has, and took its dev server along."""
    async with aiohttp.ClientSession() as session:
        running = Stack(folder, workspace, api, free_port(), free_port(), free_port(), session, environ)
        try:
            await running.agent.start()
            yield running
            if running.agent.child.returncode is None:
                assert await running.agent.stop() == 0, running.tail()
        finally:
            await running.agent.end()


async def _until_listening(port: int, process: Process) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.child.returncode is None, process.log.read_text()
                await asyncio.sleep(0.02)  # nothing tells that a port is open but an attempt
                continue
            writer.close()
            await writer.wait_closed()
            return
