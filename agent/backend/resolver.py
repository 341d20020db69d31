"""Host names → addresses, each looked up in a thread that nobody ever has to wait for.

The system's own look-up is used, and it cannot be interrupted: where no name server answers, it takes as long as
/etc/resolv.conf says, 5 s for each server and try. asyncio's threads are waited for at the end of the process, which
would then be killed for being late. Nothing is lost with a look-up, so here the process ends without it.
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
    """For one aiohttp connector, which remembers answers and asks for a name once at a time."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError where there is no such name."""
        found = await _aside(partial(_ask, host, port, family))
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
        raise OSError(f"{host!r} is no host name: {error}") from None


def _text(address: Address) -> str:
    """An IPv6 address that is good on one link only has that link's number, which must not get lost."""
    link = address[3] if len(address) == 4 else 0
    return f"{address[0]!s}%{link!s}" if link else str(address[0])


async def _aside(call: Callable[[], R]) -> R:
    answer: Future[R] = Future()

    def ask() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(call())
        except OSError as error:
            answer.set_exception(error)

    Thread(target=ask, name="name look-up", daemon=True).start()
    return await asyncio.wrap_future(answer)
