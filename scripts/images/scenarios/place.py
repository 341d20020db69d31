"""Where a scenario plays: a real control plane on this machine, and containers of the image that reach it.

A container is started as Fly starts a machine: an init as its first process and the agent as that one's child, a limit
on its memory, and no swap. Invariant: when the block of `world` has ended, none of its containers is left, nor its
volumes.
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

POLL_SECONDS = 0.05  # between two looks at what tells of nothing by itself
PAGE_SECONDS = 90.0
PORT, AGENT_PORT = 3000, 9090
TAIL = 25


class Wrong(Exception):
    """The image did not do what it should; the message says what was seen."""


@dataclass
class Container:
    """One machine. `name` is the engine's for it; the addresses are known once it runs."""

    engine: Engine
    session: aiohttp.ClientSession
    name: str
    url: str = ""
    admin: str = ""
    started: float = 0.0

    async def _ask(self, *words: str, within: float = 60) -> str:
        return await asyncio.to_thread(self.engine.ask, *words, within=within)

    async def run(self, *words: str) -> None:
        await self._ask("run", "--detach", "--name", self.name, *words, within=180)
        await self._look()

    async def start(self) -> None:
        """Once more, with the disk as it was left."""
        await self._ask("start", self.name)
        await self._look()

    async def _look(self) -> None:
        self.started = time.monotonic()
        with suppress(Failed):  # one that ended at once has no ports, and its scenario says so better
            self.url, self.admin = [f"http://{await self._port(port)}" for port in (PORT, AGENT_PORT)]

    async def _port(self, inside: int) -> str:
        said = await self._ask("port", self.name, f"{inside}/tcp")
        return said.splitlines()[0].replace("0.0.0.0", "127.0.0.1")

    async def exec(self, *command: str) -> str:
        return await self._ask("exec", self.name, *command)

    async def signal(self, name: str) -> None:
        await self._ask("kill", "--signal", name, self.name)

    async def exited(self, within: float = 60) -> int:
        """Wait for its end; the exit status."""
        return int(await self._ask("wait", self.name, within=within))

    async def running(self) -> bool:
        return await self._ask("inspect", "--format", "{{.State.Running}}", self.name) == "true"

    async def memory_limit(self) -> int:
        return int(await self._ask("inspect", "--format", "{{.HostConfig.Memory}}", self.name))

    async def tail(self) -> str:
        """The end of what it printed, where that can still be had."""
        with suppress(Failed):
            return "\n".join((await self._ask("logs", "--tail", str(TAIL), self.name)).splitlines())
        return ""

    async def get(self, path: str = "/") -> tuple[int, str]:
        """What a visitor gets; 0 where nobody listens."""
        try:
            async with (
                asyncio.timeout(PAGE_SECONDS),
                self.session.get(self.url + path, headers={"Accept": "text/html"}) as answer,
            ):
                return answer.status, await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def status(self) -> dict[str, Any]:
        """/status; empty where nobody listens. Asked from the inside where the agent shows it to nobody else."""
        try:
            headers = {"Authorization": f"Bearer {KEY}"}
            async with asyncio.timeout(10), self.session.get(f"{self.admin}/status", headers=headers) as answer:
                status: dict[str, Any] = orjson.loads(await answer.read())
                return status
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def until(self, wanted: Callable[[dict[str, Any]], object], what: str, within: float = PAGE_SECONDS) -> float:
        """Seconds since the start until the status is as wanted; raises Wrong with what it was instead."""
        end = time.monotonic() + within
        status: dict[str, Any] = {}
        while time.monotonic() < end:
            status = await self.status() or status
            if status and wanted(status):
                return time.monotonic() - self.started
            await asyncio.sleep(POLL_SECONDS)
        raise Wrong(f"not within {within:.0f} s: {what}; last: {brief(status)}")

    async def until_page(self, text: str, path: str = "/", within: float = PAGE_SECONDS) -> float:
        """Seconds since the start until a visitor sees `text` on a page of the app's own."""
        end = time.monotonic() + within
        said = (0, "")
        while time.monotonic() < end:
            said = await self.get(path)
            if said[0] == 200 and text in said[1]:
                return time.monotonic() - self.started
            await asyncio.sleep(POLL_SECONDS)
        raise Wrong(
            f"{text!r} was not on {path} within {within:.0f} s; the last answer was {said[0]}: {said[1][:300]!r}"
        )


def brief(status: Mapping[str, Any]) -> dict[str, Any]:
    """What of a status is worth a line."""
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
        """A started container. `words` go to the engine's `run`; what stands after "--" to the image itself."""
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
                self.engine.ask(*words)

    def clear(self) -> None:
        for name in self._names:
            self._remove(name)
        for name in self._volumes:
            with suppress(Failed):
                self.engine.ask("volume", "rm", "--force", name)


@asynccontextmanager
async def world(engine: Engine) -> AsyncIterator[World]:
    """A control plane that holds one page, and no container yet."""
    with tempfile.TemporaryDirectory(prefix="preview-image-") as folder:
        port = free_port()
        # A container comes in over the bridge, which has an address of its own; the key is what keeps others out.
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
    """The addresses of a page's own scripts and styles."""
    yield from dict.fromkeys(re.findall(r'(?:src|href)="(/_next/static/[^"?]+)', html))
