"""The environment of a scenario: a real control plane on this machine, and containers of the image that reach it.

A container is started as Fly starts a machine: an init as process 1 with the agent as its child, a memory limit, and no
swap. Invariant: when the block of `world` ends, its containers and volumes are removed.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from scripts.images.engine import IMAGE, Engine, Failed
from tests.peers.stack import APP, KEY, Backend, backend

POLL_SECONDS = 0.05  # where there is no event to wait for
PAGE_SECONDS = 90.0
PORT, AGENT_PORT = 3000, 9090
TAIL = 25


class Wrong(Exception):
    """The machine did not do what it should; the message says what it did."""


@dataclass
class Container:
    """One machine. `name`: the container's name. The addresses are known once it runs."""

    engine: Engine
    session: aiohttp.ClientSession
    name: str
    url: str = ""
    admin: str = ""
    started: float = 0.0

    async def _engine(self, *words: str, within: float = 60) -> str:
        return await asyncio.to_thread(self.engine.command, *words, within=within)

    async def run(self, *words: str) -> None:
        await self._engine("run", "--detach", "--name", self.name, *words, within=180)
        await self._read_ports()

    async def start(self) -> None:
        """Start it again with its old disk."""
        await self._engine("start", self.name)
        await self._read_ports()

    async def _read_ports(self) -> None:
        self.started = time.monotonic()
        with suppress(Failed):  # a container that ended at once has no ports; its scenario reports that
            self.url, self.admin = [f"http://{await self._port(port)}" for port in (PORT, AGENT_PORT)]

    async def _port(self, inside: int) -> str:
        output = await self._engine("port", self.name, f"{inside}/tcp")
        return output.splitlines()[0].replace("0.0.0.0", "127.0.0.1")

    async def exec(self, *command: str) -> str:
        return await self._engine("exec", self.name, *command)

    async def signal(self, name: str) -> None:
        await self._engine("kill", "--signal", name, self.name)

    async def exited(self, within: float = 60) -> int:
        """Wait for its end, and return the exit status."""
        return int(await self._engine("wait", self.name, within=within))

    async def running(self) -> bool:
        return await self._engine("inspect", "--format", "{{.State.Running}}", self.name) == "true"

    async def memory_limit(self) -> int:
        return int(await self._engine("inspect", "--format", "{{.HostConfig.Memory}}", self.name))

    async def tail(self) -> str:
        """Return the last lines of its output, or "" if they are not available."""
        with suppress(Failed):
            return "\n".join((await self._engine("logs", "--tail", str(TAIL), self.name)).splitlines())
        return ""

    async def get(self, path: str = "/") -> tuple[int, str]:
        """Return status and text of a visitor's request; status 0 if nothing listens."""
        try:
            async with (
                asyncio.timeout(PAGE_SECONDS),
                self.session.get(self.url + path, headers={"Accept": "text/html"}) as answer,
            ):
                return answer.status, await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def status(self) -> dict[str, Any]:
        """Return /status, or {} if nothing listens."""
        try:
            headers = {"Authorization": f"Bearer {KEY}"}
            async with asyncio.timeout(10), self.session.get(f"{self.admin}/status", headers=headers) as answer:
                status: dict[str, Any] = orjson.loads(await answer.read())
                return status
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def until(self, wanted: Callable[[dict[str, Any]], object], what: str, within: float = PAGE_SECONDS) -> float:
        """Return the seconds from the start until `wanted` is true of the status. Raise Wrong with the last status."""
        end = time.monotonic() + within
        status: dict[str, Any] = {}
        while time.monotonic() < end:
            status = await self.status() or status
            if status and wanted(status):
                return time.monotonic() - self.started
            await asyncio.sleep(POLL_SECONDS)
        raise Wrong(f"not within {within:.0f} s: {what}; last: {brief(status)}")

    async def until_page(self, text: str, path: str = "/", within: float = PAGE_SECONDS) -> float:
        """Return the seconds from the start until a page of the app contains `text`. Raise Wrong."""
        end = time.monotonic() + within
        answer = (0, "")
        while time.monotonic() < end:
            answer = await self.get(path)
            if answer[0] == 200 and text in answer[1]:
                return time.monotonic() - self.started
            await asyncio.sleep(POLL_SECONDS)
        raise Wrong(
            f"{text!r} was not on {path} within {within:.0f} s; the last answer was {answer[0]}: {answer[1][:300]!r}"
        )


def brief(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a status that an error message shows."""
    shown = ("phase", "missing", "dev_server", "problems")
    return {name: status[name] for name in shown if name in status}


@dataclass
class World:
    engine: Engine
    session: aiohttp.ClientSession
    backend: Backend
    api: str
    _names: list[str] = field(default_factory=list)
    _volumes: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def machine(self, *words: str, memory: str = "1g", **environ: str) -> AsyncIterator[Container]:
        """Run a container. `words` are arguments of the engine's `run`; those after "--" go to the image."""
        container = self._container()
        at = words.index("--") if "--" in words else len(words)
        before, after = words[:at], words[at + 1 :]
        settings = {"APP_ID": APP, "API_URL": self.api, "API_KEY": KEY} | environ
        await container.run(
            *("--init", "--memory", memory, "--memory-swap", memory, *self.engine.to_host),
            *("--publish", f"127.0.0.1::{PORT}", "--publish", f"127.0.0.1::{AGENT_PORT}"),
            *(word for name, value in settings.items() for word in ("--env", f"{name}={value}")),
            *(*self.engine.run_arguments, *before, IMAGE, *after),
        )
        try:
            yield container
        except (Wrong, Failed) as wrong:
            raise Wrong(f"{wrong}\n{await container.tail()}") from None
        finally:
            await asyncio.to_thread(self._remove, container.name)

    def _container(self) -> Container:
        name = f"preview-image-test-{os.getpid()}-{secrets.token_hex(3)}"
        self._names.append(name)
        return Container(self.engine, self.session, name)

    def volume(self) -> str:
        name = f"preview-image-test-{os.getpid()}-{secrets.token_hex(3)}"
        self._volumes.append(name)
        return name

    def _remove(self, name: str) -> None:
        for words in (("kill", "--signal", "KILL", name), ("rm", "--force", "--volumes", name)):
            with suppress(Failed):
                self.engine.command(*words)

    def clear(self) -> None:
        for name in self._names:
            self._remove(name)
        for name in self._volumes:
            with suppress(Failed):
                self.engine.command("volume", "rm", "--force", name)


@asynccontextmanager
async def world(engine: Engine) -> AsyncIterator[World]:
    """Start a control plane with one page, without a container."""
    with tempfile.TemporaryDirectory(prefix="preview-image-") as folder:
        port = free_port()
        # A container connects over the bridge, which has an address of its own. Requests still need the key.
        async with backend(Path(folder), port, "--host", "0.0.0.0") as served, aiohttp.ClientSession() as session:
            here = World(engine, session, served, f"http://{engine.host}:{port}")
            try:
                await served.put({"app/page.tsx": page("the first page")})
                yield here
            finally:
                await asyncio.to_thread(here.clear)


def page(text: str) -> str:
    return (
        "export default function Page() {\n"
        f'  return <main className="grid min-h-dvh place-items-center text-3xl">{text}</main>;\n}}\n'
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        number: int = probe.getsockname()[1]
        return number


def scripts_of(html: str) -> Iterator[str]:
    """Yield the URLs of a page's own scripts and styles."""
    yield from dict.fromkeys(re.findall(r'(?:src|href)="(/_next/static/[^"?]+)', html))
