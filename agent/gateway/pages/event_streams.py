"""The gateway's own event streams, which keep a waking or failed page true (Server-Sent Events).

/__preview/events sends `view` whenever what the page shows has changed, and `gone` when the machine goes away, upon
which the page stays silent: its questions would wake the machine that just fell asleep. /__preview/log sends the dev
server's output as JSON lists of lines. Both run until the caller cancels them; that is how a browser leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import orjson

from agent.gateway.http.transport import Wire
from agent.gateway.pages.render import encode
from agent.gateway.pages.view import plain, view
from agent.status_board import StatusBoard

HEARTBEAT_SECONDS = 15.0
PACE_SECONDS = 0.05
LOG_LINES = 300

_HEARTBEAT = b": still here\n\n"
_GONE = b"event: gone\ndata: {}\n\n"


class Logs(Protocol):
    """The dev server's output, oldest line first, without line ends. `follow` listens from the moment of the call."""

    def lines(self) -> list[str]: ...

    def follow(self) -> AsyncIterator[str]: ...


async def views(
    client: Wire,
    board: StatusBoard,
    logs: Logs,
    *,
    path: str,
    waited: Callable[[], float],
    warm: Callable[[], Awaitable[None]],
) -> None:
    """Send views of the page `path` to `client`. `waited`: seconds since the wait began. `warm` is awaited before the
    app is said to be ready: it makes the dev server compile the page, so that the browser's own request finds it done.
    """
    seen, sent = None, b""
    try:
        while True:
            seen = board.snapshot
            shown = view(seen, list(map(board.shorten, logs.lines())), path)
            if shown.kind == "ready":
                await warm()
            data = encode(shown, elapsed=waited())
            same = encode(shown, elapsed=0)
            if same != sent:
                client.write(b"event: view\ndata: %b\n\n" % data)
                sent = same
            await client.drain()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await board.newer(seen)
            except TimeoutError:
                client.write(_HEARTBEAT)
            else:
                await asyncio.sleep(PACE_SECONDS)  # facts that change together are told together
    except asyncio.CancelledError:
        client.write(_GONE)
        raise


async def output(client: Wire, logs: Logs) -> None:
    """Send the last lines, then every new one; ends when the log does."""
    lines, following = logs.lines(), logs.follow()
    try:
        client.write(_lines(lines[-LOG_LINES:]))
        async for line in following:
            client.write(_lines([line]))
            await client.drain()
    finally:
        close = getattr(following, "aclose", None)  # an iterator need not have it, a generator must not be left open
        if close is not None:
            await close()


def _lines(lines: list[str]) -> bytes:
    sound = [plain(line).encode("utf-8", "replace").decode() for line in lines]
    return b"data: %b\n\n" % orjson.dumps(sound)
