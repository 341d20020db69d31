"""Listens on the dev server's hot-reload socket, as a page in a browser does.

Its paths, and how to read its messages, are fields of the framework (frameworks/). A dropped connection is reported
too: it is the first sign that the server restarts itself or exits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from agent.devserver.frameworks.framework import HmrSocket

CONNECT_SECONDS = 3.0  # Next does not refuse an unknown path: the request hangs
HEARTBEAT_SECONDS = 80.0  # a pong is awaited for half of it: longer than a hung server is left running
PAUSE = 0.25
LONGEST_PAUSE = 60.0


async def listen(
    session: aiohttp.ClientSession,
    port: int,
    socket: HmrSocket,
    *,
    prefix: Callable[[], str],
    on_message: Callable[[str], None],
    on_drop: Callable[[], None],
) -> None:
    """Pass every text message to `on_message`, and reconnect whenever the socket drops, until cancelled. `prefix`
    returns the current prefix of the socket's paths.
    """
    paths = socket.paths
    pause = PAUSE
    while True:
        for path in paths:
            url = f"http://127.0.0.1:{port}{prefix()}{path}?id=preview-agent"
            if await _listen_once(session, url, on_message):
                on_drop()
                paths, pause = (path, *(other for other in socket.paths if other != path)), PAUSE
                break
        else:
            pause = min(pause * 2, LONGEST_PAUSE)
        await asyncio.sleep(pause)


async def _listen_once(session: aiohttp.ClientSession, url: str, on_message: Callable[[str], None]) -> bool:
    """Return whether it connected, after the connection is closed."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await session.ws_connect(url, heartbeat=HEARTBEAT_SECONDS)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    async with socket:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                on_message(message.data)
    return True
