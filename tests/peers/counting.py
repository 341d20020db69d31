"""Somebody who only counts who comes to a port: what a machine that sleeps would be woken by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def counting(port: int) -> AsyncIterator[list[bytes]]:
    """Each connection to 127.0.0.1:`port` with the first bytes that came over it."""
    came: list[bytes] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = len(came)
        came.append(b"")
        came[at] = await reader.read(300)
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", port)
    try:
        yield came
    finally:
        server.close()
        await server.wait_closed()
