"""Says where to look, and what the preview still waits for, as the agent itself tells it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from control.dev.terminal import Terminal

LOOK_SECONDS = 0.1
NO_AGENT = "starting the agent"


async def announce(folder: Path, port: int, agent_port: int, terminal: Terminal, *, first: bool) -> None:
    """Say the address as soon as the gateway answers there, if only with its waiting page, and when the app does. Not
    the `first` time, only that somebody came, and when the app is back.
    """
    if not first:
        terminal.begin()
    said = not first
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            waits = await _waits_for(session, agent_port)
            if waits != NO_AGENT and not said:
                terminal.say(f"\n    http://localhost:{port}\n\n  shows {folder}")
                said = True
            if not waits:
                break
            terminal.doing(waits)
            await asyncio.sleep(LOOK_SECONDS)
    if not first:
        terminal.say(f"  Somebody came, and it is awake after {terminal.elapsed:.1f} s.")
        return
    terminal.say(f"  It is live after {terminal.elapsed:.1f} s and follows every save. Ctrl-C ends it.")
    terminal.say(f"  What goes on: http://localhost:{agent_port}/status\n")


async def _waits_for(session: aiohttp.ClientSession, agent_port: int) -> str:
    """What the preview still needs; nothing when it can be looked at."""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"http://127.0.0.1:{agent_port}/readyz") as answer:
            if answer.status == 200:
                return ""
            return str((await answer.json())["missing"][0])
    return NO_AGENT
