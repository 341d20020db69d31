"""The gateway's event streams (Server-Sent Events), which keep a waking or failed page up to date.

/__preview/events sends `view` whenever what the page shows has changed, and `gone` when the machine stops, after which
the page sends no more requests, because one would start the machine again. /__preview/log sends the dev server's output
as JSON lists of lines. Both run until the caller cancels them, which it does when the browser disconnects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import orjson

from agent.gateway.http.transport import Transport
from agent.gateway.pages.render import encode
from agent.gateway.pages.view import plain, view
from agent.status_board import StatusBoard

HEARTBEAT_SECONDS = 15.0
COALESCE_SECONDS = 0.05
LOG_LINES = 300

_HEARTBEAT = b": still here\n\n"
_GONE = b"event: gone\ndata: {}\n\n"


class OutputLog(Protocol):
    """The dev server's output, oldest line first, without line ends."""

    def lines(self) -> list[str]: ...

    def follow(self) -> AsyncIterator[str]:
        """The lines that are printed from the moment of the call."""
        ...


async def send_views(
    client: Transport,
    board: StatusBoard,
    logs: OutputLog,
    *,
    path: str,
    seconds_waited: Callable[[], float],
    prewarm: Callable[[], Awaitable[None]],
) -> None:
    """Send `client` the views of the page at `path`. `prewarm` is awaited before the app is reported as ready: it has
    the dev server compile the page, so that the browser's own request is answered at once.
    """
    seen, sent = None, b""
    try:
        while True:
            seen = board.snapshot
            shown = view(seen, list(map(board.shorten, logs.lines())), path)
            if shown.kind == "ready":
                await prewarm()
            data = encode(shown, elapsed=seconds_waited())
            without_time = encode(shown, elapsed=0)
            if without_time != sent:
                client.write(b"event: view\ndata: %b\n\n" % data)
                sent = without_time
            await client.drain()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await board.newer(seen)
            except TimeoutError:
                client.write(_HEARTBEAT)
            else:
                await asyncio.sleep(COALESCE_SECONDS)  # facts that change together are sent together
    except asyncio.CancelledError:
        client.write(_GONE)
        raise


async def send_output(client: Transport, logs: OutputLog) -> None:
    """Send the last lines of the output, then every new one."""
    lines, following = logs.lines(), logs.follow()
    try:
        client.write(_lines_event(lines[-LOG_LINES:]))
        async for line in following:
            client.write(_lines_event([line]))
            await client.drain()
    finally:
        close = getattr(following, "aclose", None)  # a generator has to be closed; other iterators may have no aclose
        if close is not None:
            await close()


def _lines_event(lines: list[str]) -> bytes:
    encodable = [plain(line).encode("utf-8", "replace").decode() for line in lines]
    return b"data: %b\n\n" % orjson.dumps(encodable)
