"""Resolves host names, each in a daemon thread that the process does not wait for when it exits.

The system's getaddrinfo cannot be interrupted: without an answer it takes as long as /etc/resolv.conf says, 5 s per
server and try. asyncio waits for its executor's threads at exit, so the process would stop too late and be killed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Address]
R = TypeVar("R")

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Names(AbstractResolver):
    """For one aiohttp connector, which caches results and never resolves a name twice at once."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError if the name does not exist."""
        found = await _in_daemon_thread(partial(_ask, host, port, family))
        return [
            ResolveResult(hostname=host, host=_text(address), port=port, family=kind, proto=proto, flags=NUMERIC)
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        return


def _ask(host: str, port: int, family: int) -> Sequence[Found]:
    try:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name: {error}") from None


def _text(address: Address) -> str:
    """The address as text, with the scope id of a link-local IPv6 address."""
    link = address[3] if len(address) == 4 else 0
    return f"{address[0]!s}%{link!s}" if link else str(address[0])


async def _in_daemon_thread(call: Callable[[], R]) -> R:
    answer: Future[R] = Future()

    def ask() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(call())
        except OSError as error:
            answer.set_exception(error)

    Thread(target=ask, name="name look-up", daemon=True).start()
    return await asyncio.wrap_future(answer)
