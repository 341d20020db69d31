"""The listening sockets of AGENT_PORT in both address families, and the error for a port that cannot be used.

The app's own code can open any number of connections and send nothing on them. Above CONNECTIONS_MOST the oldest
one is closed: a health check that asks now matters more, and the agent keeps its file descriptors for its own work.
The process that holds a taken port is looked up only after listening has failed, because it means reading all of /proc.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress

import psutil
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from agent.errors import ConfigError, Occupied

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


def unusable(port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return Occupied(f"AGENT_PORT {port} is taken{_holder(port)}: stop what holds it, or set another AGENT_PORT")
    if error.errno == errno.EACCES:
        return ConfigError(f"AGENT_PORT {port} is not ours to listen on: set AGENT_PORT to a port from 1024 up")
    return ConfigError(f"AGENT_PORT {port} cannot be listened on: {error.strerror or error}")


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
