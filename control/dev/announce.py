"""Prints the preview's address, and what changes there, from the agent's /events, until cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from control.dev.news import News
from control.dev.terminal import Terminal

RETRY_SECONDS = 0.1
TICK_SECONDS = 0.5
NO_AGENT = "starting the agent"
EVENT_BYTES = 1 << 22


async def announce(folder: Path, port: int, agent_port: int, terminal: Terminal, *, first: bool) -> None:
    """Print the address when the agent answers, then each change. After the `first` start, print only that a visit woke
    the preview.
    """
    if not first:
        terminal.begin()
    news = News(f"http://localhost:{agent_port}/status", first=first)
    printed = not first
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)) as session:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async for now in _states(session, agent_port):
                    if not printed:
                        terminal.say(f"\n    http://localhost:{port}\n\n  shows {folder}")
                        printed = True
                    for line in news.lines(now, terminal.elapsed):
                        terminal.say(line)
                    if (waits := news.waits_for(now)) is not None:
                        terminal.progress(waits)
            if not printed:
                terminal.progress(NO_AGENT)
            await asyncio.sleep(RETRY_SECONDS)


async def _states(session: aiohttp.ClientSession, agent_port: int) -> AsyncIterator[dict[str, Any]]:
    """Yield the agent's whole status at each change and every TICK_SECONDS, until the agent ends."""
    async with session.get(f"http://127.0.0.1:{agent_port}/events", read_bufsize=EVENT_BYTES) as answer:
        if answer.status != 200:
            return
        now: dict[str, Any] = {}
        reading: asyncio.Task[bytes] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                reading = reading or group.create_task(answer.content.readline())
                await asyncio.wait({reading}, timeout=TICK_SECONDS)
                if reading.done():
                    line, reading = reading.result(), None
                    if not line:
                        return
                    if not line.startswith(b"data: "):
                        continue
                    now |= orjson.loads(line[len(b"data: ") :])
                if now:
                    yield now
