"""A whole agent without a key on a stand-in for a Fly machine, and a real control plane that trusts that machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.peers import control
from tests.peers.control import APP_ID, Client
from tests.peers.dead_line import Line, dead_line
from tests.peers.fly_machine import APP, MACHINE, Machine, fly_machine
from tests.peers.stack import Stack, stack

SERVER = f"{shlex.quote(sys.executable)} -m http.server {{port}} --bind 127.0.0.1"
PROMPTLY = 10.0
"""Far below the 55 s after which a held request's silence is noticed."""


@dataclass(frozen=True, slots=True)
class World:
    """A machine, a control plane that trusts it, its agent. `client` has the app's key; the agent has none."""

    machine: Machine
    line: Line
    client: Client
    agent: Stack

    async def edit(self, content: str) -> int:
        revision: int = (await self.client.put({"index.html": content}))["revision"]
        return revision

    def failed_with(self, *words: str) -> Callable[[dict[str, Any]], bool]:
        def told(status: dict[str, Any]) -> bool:
            failure = status["sync"]["failure"] or {"message": ""}
            return all(word in failure["message"] for word in words)

        return told


@asynccontextmanager
async def world(
    folder: Path,
    free_port: Callable[[], int],
    *,
    audience: str | None = None,
    known: str = f"{APP}/{MACHINE}",
    **more: str,
) -> AsyncIterator[World]:
    async with fly_machine(folder) as machine, dead_line() as line, aiohttp.ClientSession() as session:
        api = f"http://127.0.0.1:{line.port}"
        trust = ("--oidc-issuer", machine.issuer.url, "--oidc-audience", audience or api)
        async with control.process(folder, *trust, "--oidc-machine", f"{APP_ID}={known}") as process:
            line.peer = int(process.url.rpartition(":")[2])
            client = Client(session, process.url)
            await client.put({"index.html": "first"})
            settings = machine.environ | {"DEV_COMMAND": SERVER, "POLL_INTERVAL": "250ms"} | more
            async with stack(folder, folder / "app", api, free_port, **settings) as agent:
                machine.root = psutil.Process(agent.agent.child.pid)
                try:
                    yield World(machine, line, client, agent)
                finally:
                    machine.start()  # a frozen agent could not be stopped
