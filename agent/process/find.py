"""Who lives: the processes of a session, the bearers of a mark, the holder of a port. Looks, and ends nobody.

A session id proves something only while its leader lives or is not reaped yet: after that the number may go to a
stranger. The mark is proof at any time, since every descendant inherits it and nobody else can know it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil

from agent.isolation.child_environment import RUN_MARK


def of_session(session: int) -> list[psutil.Process]:
    """Every process of the session, zombies too."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == session:
                found.append(psutil.Process(pid))
    return found


def marked(run: str) -> list[psutil.Process]:
    """Every living process that carries the mark of this run, whatever session or parent it has by now."""
    return [process for process in _others() if _mark(process) == run]


def is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now, asked in the way a server asks."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def holder(port: int) -> psutil.Process | None:
    """Who listens on `port`; None when nobody does, or when this user may not see who."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            at_port = connection.laddr and connection.laddr.port == port
            if at_port and connection.status == psutil.CONN_LISTEN and connection.pid is not None:
                return psutil.Process(connection.pid)
    return None


def listening(session: int) -> frozenset[int]:
    """The TCP ports that the processes of a session listen on, as far as this user may see them."""
    ports = set()
    with suppress(psutil.Error):
        members = {process.pid for process in of_session(session)}
        for connection in psutil.net_connections(kind="tcp"):
            if connection.pid in members and connection.status == psutil.CONN_LISTEN and connection.laddr:
                ports.add(connection.laddr.port)
    return frozenset(ports)


def _others() -> Iterator[psutil.Process]:
    for pid in psutil.pids():
        if pid != os.getpid():
            with suppress(psutil.Error):
                yield psutil.Process(pid)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_MARK)
    except (psutil.Error, OSError):
        return None
