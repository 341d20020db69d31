"""Runs the agent under `scripts/dev`, and starts it again at the next visit after it went to sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from control.dev.processes import Program
from control.dev.wake_on_connect import HeldConnections, wait_for_connection


@dataclass(frozen=True, slots=True)
class AgentLoop:
    start: Callable[[], AbstractAsyncContextManager[Program]]
    announce: Callable[[bool], Awaitable[None]]
    """Prints the address and the app's state; the argument is True at the first start."""
    port: int
    """The gateway's port, where visits arrive."""
    say: Callable[[str], None]

    async def run(self) -> None:
        """Run until cancelled. Raise ProgramFailed if the agent fails; an exit with status 0 means that it sleeps."""
        held: HeldConnections | None = None
        while True:
            async with self.start() as agent, asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._announce(first=held is None))]
                if held is not None:
                    tasks.append(group.create_task(held.forward()))
                await agent.watch()
                for task in tasks:
                    task.cancel()
            self.say(f"  The preview is not used, so it sleeps. Opening http://localhost:{self.port} wakes it.")
            held = await wait_for_connection(self.port)

    async def _announce(self, *, first: bool) -> None:
        await self.announce(first)
