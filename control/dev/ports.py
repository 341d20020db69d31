"""Chooses the ports of `scripts/dev`: the default ones, free ones where those are taken, or the requested one."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from agent.port_holder import by_holder
from control.dev.workspace import CannotPreview

PORTS = {"control": 8080, "PORT": 3000, "DEV_PORT": 3001, "AGENT_PORT": 9090}
SHOWN = "PORT"
"""The gateway's port, whose address is printed."""


def free_ports(shown: int | None = None) -> dict[str, int]:
    """Return a different port for each name. `shown`: the requested public port; raise CannotPreview if it is taken."""
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
    """Return a socket on `port` of all addresses, as the agent's public port is, or on any free port."""
    for wanted in (port, 0):
        with suppress(OSError):
            return socket.create_server(("", wanted))
    raise CannotPreview("no port is free")


def _hold_exactly(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken{by_holder(port)}: stop that program, or choose another --port"
        elif error.errno == errno.EACCES:
            reason = f"port {port} needs root: choose a --port of 1024 or above"
        else:
            reason = f"port {port} cannot be opened: {error.strerror or error}"
        raise CannotPreview(reason) from None
