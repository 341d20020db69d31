"""Finds the process that listens on a TCP port, for errors that name it.

This reads all of /proc, so it is called only after the port could not be used. Without root, processes of other users
are not seen.
"""

from __future__ import annotations

from contextlib import suppress

import psutil


def port_holder(port: int) -> psutil.Process | None:
    """The process that listens on `port`; None if none does, or if this user may not see it."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            at_port = connection.laddr and connection.laddr.port == port
            if at_port and connection.status == psutil.CONN_LISTEN and connection.pid is not None:
                return psutil.Process(connection.pid)
    return None


def by_holder(port: int) -> str:
    """The end of "port N is taken": ` by NAME (pid N)`, or nothing if the process is not known."""
    holder = port_holder(port)
    with suppress(psutil.Error):
        return "" if holder is None else f" by {holder.name()} (pid {holder.pid})"
    return ""
