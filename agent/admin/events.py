"""Generates the streams of /events and /logs?follow=1.

/events is Server-Sent Events. The first event is `snapshot`, with everything in /status except the uptime. Each later
event is `change`, with the complete value of each part that changed, so that
`state = {...state, ...JSON.parse(event.data)}` keeps a client current. `id` numbers the events of one connection. A
client that reconnects gets a new snapshot, so nothing has to be kept for it. Changes within INTERVAL_SECONDS are sent
in one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from agent.admin.status_json import Facts, changes, encode
from agent.status import Snapshot
from agent.status_board import StatusBoard

HEARTBEAT_SECONDS = 15.0
INTERVAL_SECONDS = 0.05


class Logs(Protocol):
    """The dev server's output, oldest line first, without line ends.

    `follow` yields the lines printed after its call (not after the first step of its iterator), so that `lines()` and
    `follow()` called one after the other skip and repeat nothing. It limits what it keeps for a slow reader.
    """

    def lines(self) -> list[str]: ...

    def follow(self) -> AsyncGenerator[str]: ...


async def events(
    board: StatusBoard,
    show: Callable[[Snapshot], Facts],
    *,
    heartbeat: float = HEARTBEAT_SECONDS,
    interval: float = INTERVAL_SECONDS,
) -> AsyncGenerator[bytes]:
    """Yields events without end. After `heartbeat` seconds without a change it yields a comment, because proxies close
    idle connections.
    """
    seen = board.snapshot
    shown = show(seen)
    number = 0
    yield event(number, "snapshot", shown)
    while True:
        try:
            async with asyncio.timeout(heartbeat):
                seen = await board.newer(seen)
        except TimeoutError:
            yield b": nothing new\n\n"
            continue
        facts = show(seen)
        changed = changes(shown, facts)
        if changed:
            number += 1
            shown = facts
            yield event(number, "change", changed)
        await asyncio.sleep(interval)


def event(number: int, name: str, data: Facts) -> bytes:
    """Encode one event. JSON contains no raw line end, so one `data:` line is enough."""
    return b"id: %d\nevent: %s\ndata: %s\n" % (number, name.encode(), encode(data))


async def follow_logs(logs: Logs, last: int) -> AsyncGenerator[bytes]:
    """Yields the last `last` lines, then each new line. Ends when the log ends."""
    lines, following = logs.lines(), logs.follow()
    async with aclosing(following):
        yield text(lines, last)
        async for line in following:
            yield text([line], 1)


def text(lines: list[str], last: int) -> bytes:
    kept = lines[max(0, len(lines) - last) :]
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "replace")
