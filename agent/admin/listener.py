"""Opens the listening sockets of AGENT_PORT in both address families, and explains why a port cannot be used.

The app's own code can open any number of connections and send nothing on them. Above CONNECTIONS_MOST the oldest
connection is closed, so that health checks get an answer and the agent keeps file descriptors for its own work. The
process that holds a port is looked up only after listening failed, because that reads all of /proc.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from agent.errors import ConfigError, Occupied
from agent.port_holder import by_holder

CONNECTIONS_MOST = 128
ALL_INTERFACES = "0.0.0.0"  # noqa: S104  Fly's checks use the machine's private address


async def listen(server: Server, host: str, port: int) -> list[asyncio.Server]:
    """The listeners; the first is on `host`. Raises OSError with nothing left open.

    With ALL_INTERFACES, IPv6 is listened on as well if the machine has it, so that no other process can answer there in
    place of the agent.
    """

    def connection() -> RequestHandler:
        for oldest in server.connections[: -CONNECTIONS_MOST + 1]:
            oldest.force_close()
        return server()

    loop = asyncio.get_running_loop()
    listeners = [await loop.create_server(connection, host, port)]
    if host == ALL_INTERFACES:
        with suppress(OSError):
            listeners.append(await loop.create_server(connection, "::", listeners[0].sockets[0].getsockname()[1]))
    return listeners


def listen_error(port: int, error: OSError) -> ConfigError:
    """The error for a port that cannot be listened on, with what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return Occupied(f"AGENT_PORT {port} is taken{by_holder(port)}: stop that process, or set another AGENT_PORT")
    if error.errno == errno.EACCES:
        return ConfigError(
            f"AGENT_PORT {port} needs privileges that the agent lacks: set AGENT_PORT to a port from 1024 up"
        )
    return ConfigError(f"AGENT_PORT {port} cannot be listened on: {error.strerror or error}")
