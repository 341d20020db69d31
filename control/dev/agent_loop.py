"""The agent's days and nights under `scripts/dev`: it runs, falls asleep, and is woken by the next visit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from control.dev.processes import Program
from control.dev.wake_on_connect import Visitors, rung


@dataclass(frozen=True, slots=True)
class Life:
    """`announce` says where to look and when the app is there; it is told whether that is news. `port` is the one that
    visits come to.
    """

    start: Callable[[], AbstractAsyncContextManager[Program]]
    announce: Callable[[bool], Awaitable[None]]
    port: int
    say: Callable[[str], None]

    async def run(self) -> None:
        """Until cancelled. Raises Ended when the agent fails; status 0 without a signal is sleep."""
        visitors: Visitors | None = None
        while True:
            async with self.start() as agent, asyncio.TaskGroup() as day:
                tasks = [day.create_task(self._announce(first=visitors is None))]
                if visitors is not None:
                    tasks.append(day.create_task(visitors.pass_on()))
                await agent.watch()
                for task in tasks:
                    task.cancel()
            self.say(f"  Nobody uses the preview, so it sleeps. A visit to http://localhost:{self.port} wakes it.")
            visitors = await rung(self.port)

    async def _announce(self, *, first: bool) -> None:
        await self.announce(first)
