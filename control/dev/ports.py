"""The ports that `scripts/dev` hands out: the usual ones, free ones where those are taken, or the one asked for."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

import psutil

from control.dev.workspace import Unusable

PORTS = {"control": 8080, "PORT": 3000, "DEV_PORT": 3001, "AGENT_PORT": 9090}
SHOWN = "PORT"
"""The port of the address that is printed: the gateway's."""


def free_ports(shown: int | None = None) -> dict[str, int]:
    """A port for each, no two the same. `shown`: the public one that was asked for; Unusable where it is taken."""
    held: dict[str, socket.socket] = {}
    try:
        if shown is not None:
            held[SHOWN] = _hold_exactly(shown)
        for name, usual in PORTS.items():
            held[name] = held.get(name) or _hold(usual)
        return {name: probe.getsockname()[1] for name, probe in held.items()}
    finally:
        for probe in held.values():
            probe.close()


def _hold(port: int) -> socket.socket:
    """A socket on `port` of every address, as the agent's public port is, or on a port that is free."""
    for wanted in (port, 0):
        with suppress(OSError):
            return socket.create_server(("", wanted))
    raise Unusable("there is no free port")


def _hold_exactly(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken{_holder(port)}: stop what holds it, or choose another --port"
        elif error.errno == errno.EACCES:
            reason = f"port {port} is only for root: choose a --port from 1024 up"
        else:
            reason = f"port {port} cannot be listened on: {error.strerror or error}"
        raise Unusable(reason) from None


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
