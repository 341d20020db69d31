"""Finds processes: those of a session, those with a run's mark, and the one that listens on a port. Ends none.

A session id is reliable only until its leader is reaped; after that another process may get the number. The mark is
reliable at any time: every descendant inherits it in its environment, and no other process can know it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil

from agent.isolation.child_environment import RUN_MARK


def of_session(session: int) -> list[psutil.Process]:
    """Every process of the session, including zombies."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == session:
                found.append(psutil.Process(pid))
    return found


def with_run_mark(run: str) -> list[psutil.Process]:
    """Every process with the mark of this run, whatever session or parent it has by now."""
    return [process for process in _others() if _mark(process) == run]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now, found by binding it as a server does."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listening_ports(session: int) -> frozenset[int]:
    """The TCP ports on which the processes of a session listen, as far as this user may see them."""
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
