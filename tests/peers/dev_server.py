"""A supervisor with an odd server under it, and what a test wants to know about the two."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from agent.clock import Clock
from agent.devserver.supervisor import Supervisor
from agent.isolation.user import DevUser
from agent.status import Applied, DevServerFacts, DevServerState, Problem, Repair, Source

ODD_SERVER = Path(__file__).with_name("odd_server.py")
WAIT_SECONDS = 20.0


def odd_server(port: int, *flags: str) -> tuple[str, ...]:
    # -S -E: it needs no packages, and starts in half the time
    return (sys.executable, "-S", "-E", str(ODD_SERVER), str(port), *flags)


def living(session: int) -> list[psutil.Process]:
    """Who lives in a session, asked apart from the agent's own way of asking."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def applied(*written: str, deleted: tuple[str, ...] = ()) -> Applied:
    return Applied(None, None, written, deleted, "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:00.001Z")


@dataclass
class Board:
    """Hears what the supervisor says, and keeps all of it."""

    states: list[DevServerFacts] = field(default_factory=list)
    told: dict[Source, tuple[Problem, ...]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, facts: DevServerFacts) -> None:
        self.states.append(facts)
        self.changed.set()

    def problems(self, source: Source, problems: tuple[Problem, ...]) -> None:
        self.told[source] = problems
        self.changed.set()

    @property
    def now(self) -> DevServerFacts:
        return self.states[-1]

    @property
    def repair(self) -> Repair:
        """The newest one."""
        return self.now.repairs[-1]

    @property
    def pid(self) -> int:
        pid = self.now.pid
        assert pid is not None, self.now
        return pid

    async def until(self, holds: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not (self.states and holds()):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came; the last: {self.states[-5:]}, {self.told}") from None

    async def state(self, name: DevServerState, *, starts: int = 0) -> DevServerFacts:
        """Wait for a state, where `starts` is given of the process after that many restarts or of a later one."""
        await self.until(lambda: self.now.state == name and self.now.restarts >= starts)
        return self.now


@dataclass
class Running:
    supervisor: Supervisor
    board: Board
    port: int
    task: asyncio.Task[None]

    async def act(self, what: str) -> None:
        """Have the odd server do something; it may be gone before it has answered."""
        with suppress(aiohttp.ClientError, OSError):
            async with (
                aiohttp.ClientSession() as session,
                asyncio.timeout(WAIT_SECONDS),
                session.get(f"http://127.0.0.1:{self.port}/do/{what}") as response,
            ):
                await response.read()


def supervisor(
    command: tuple[str, ...], folder: Path, port: int, board: Board, clock: Clock, *, user: DevUser | None = None
) -> Supervisor:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return Supervisor(
        command=command,
        workspace=workspace,
        state_dir=folder / "state",
        port=port,
        clock=clock,
        publish=board.publish,
        problems=board.problems,
        environ={"PATH": os.environ["PATH"], "API_KEY": "a secret"},
        user=user,
    )


@asynccontextmanager
async def running(
    command: tuple[str, ...], folder: Path, port: int, chance: float = 0.0, user: DevUser | None = None
) -> AsyncIterator[Running]:
    """Run a supervisor in `folder`; at the end it is stopped, where the test has not done so. `chance` 0: no pauses."""
    board = Board()
    supervised = supervisor(command, folder, port, board, Clock(chance=lambda: chance), user=user)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervised.run())
        try:
            yield Running(supervised, board, port, task)
        finally:
            await supervised.stop()
