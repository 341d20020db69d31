"""A pause that an event may cut short."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def pause(seconds: float, cut_short: asyncio.Event) -> None:
    """Return after `seconds`, or when `cut_short` is set, which is cleared for the next time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await cut_short.wait()
    cut_short.clear()
