"""Listening on AGENT_PORT, in both families of addresses, with room for one more whoever holds connections open.

The app's own code can open as many connections as it likes, and says nothing on them. Over CONNECTIONS_MOST the oldest
one makes room: a health check that asks now matters more, and the agent keeps its open files for its own work.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

CONNECTIONS_MOST = 128
EVERYWHERE = "0.0.0.0"  # noqa: S104 - Fly's checks come over the machine's private address


async def listen(server: Server, host: str, port: int) -> list[asyncio.Server]:
    """The listeners, the first of them on `host`. Raises OSError, with nothing left open.

    Where `host` is everywhere, IPv6 is taken as well if the machine has it, so that nobody else can answer there in the
    agent's name.
    """

    def connection() -> RequestHandler:
        for oldest in server.connections[: -CONNECTIONS_MOST + 1]:
            oldest.force_close()
        return server()

    loop = asyncio.get_running_loop()
    listeners = [await loop.create_server(connection, host, port)]
    if host == EVERYWHERE:
        with suppress(OSError):
            listeners.append(await loop.create_server(connection, "::", listeners[0].sockets[0].getsockname()[1]))
    return listeners
