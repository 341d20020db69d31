"""Listens on the dev server's own socket, the one that its pages use for hot reloading, as one more page would.

Where the socket is, and what its frames mean, is the framework's matter (frameworks/). A socket that drops is worth
telling too: the server is restarting itself or dying, and this is the first that anybody hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from agent.devserver.frameworks.framework import Socket

CONNECT_SECONDS = 3.0  # a path that Next does not know is not refused: the request just hangs
HEARTBEAT_SECONDS = 80.0  # half of it is waited for an answer: a server that hangs is restarted before the socket drops
PAUSE = 0.25
LONGEST_PAUSE = 60.0


async def listen(
    session: aiohttp.ClientSession,
    port: int,
    socket: Socket,
    *,
    prefix: Callable[[], str],
    heard: Callable[[str], None],
    dropped: Callable[[], None],
) -> None:
    """Hand every text frame to `heard`, and connect again whenever the socket drops; until cancelled. `prefix`: what
    stands before the socket's paths at this moment.
    """
    paths = socket.paths
    pause = PAUSE
    while True:
        for path in paths:
            url = f"http://127.0.0.1:{port}{prefix()}{path}?id=preview-agent"
            if await _listen_once(session, url, heard):
                dropped()
                paths, pause = (path, *(other for other in socket.paths if other != path)), PAUSE
                break
        else:
            pause = min(pause * 2, LONGEST_PAUSE)
        await asyncio.sleep(pause)


async def _listen_once(session: aiohttp.ClientSession, url: str, heard: Callable[[str], None]) -> bool:
    """Return whether there was a socket, once it is closed."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await session.ws_connect(url, heartbeat=HEARTBEAT_SECONDS)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    async with socket:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                heard(message.data)
    return True
