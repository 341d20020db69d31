"""What a client of /events and of /logs?follow=1 is told, as it happens.

/events is Server-Sent Events. The first event is `snapshot`, with everything /status knows but the uptime; each one
after it is `change`, with the parts that changed, whole: `state = {...state, ...JSON.parse(event.data)}` keeps a
client current. `id` numbers the events of one connection; a client that connects again gets a whole snapshot again,
so that nothing has to be remembered for it. Facts that change faster than PACE_SECONDS are told together.
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
PACE_SECONDS = 0.05


class Logs(Protocol):
    """The dev server's output, oldest line first, without line ends.

    `follow` listens from the moment of the call (not from the first step of its iterator), so that `lines()` and
    `follow()` called one after the other miss and repeat nothing. It bounds what it keeps for a slow reader.
    """

    def lines(self) -> list[str]: ...

    def follow(self) -> AsyncGenerator[str]: ...


async def events(
    board: StatusBoard,
    show: Callable[[Snapshot], Facts],
    *,
    heartbeat: float = HEARTBEAT_SECONDS,
    pace: float = PACE_SECONDS,
) -> AsyncGenerator[bytes]:
    """Never ends by itself. A comment goes out after `heartbeat` seconds of silence: proxies cut what is silent."""
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
        await asyncio.sleep(pace)


def event(number: int, name: str, data: Facts) -> bytes:
    """One event. JSON has no line end inside, so one `data:` line always holds it."""
    return b"id: %d\nevent: %s\ndata: %s\n" % (number, name.encode(), encode(data))


async def followed(logs: Logs, last: int) -> AsyncGenerator[bytes]:
    """The last `last` lines, then each new one; ends when the log does."""
    lines, following = logs.lines(), logs.follow()
    async with aclosing(following):
        yield text(lines, last)
        async for line in following:
            yield text([line], 1)


def text(lines: list[str], last: int) -> bytes:
    kept = lines[max(0, len(lines) - last) :]
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "replace")
