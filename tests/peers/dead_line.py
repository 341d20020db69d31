"""A TCP line to a peer that can go dead as one does behind a machine that was frozen: no end, no reset, no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 64 * 1024


class Line:
    """`kill` is for all connections there are; later ones work. `opened` counts them, `peer` is the far end's port."""

    def __init__(self) -> None:
        self.port = 0
        self.opened = 0
        self.peer = 0
        self._dead: set[asyncio.StreamWriter] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    def kill(self) -> None:
        self._dead |= self._ends

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.peer)
        except OSError:
            writer.close()
            return
        self._ends |= {writer, far_writer}
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(CHUNK):
                if sink not in self._dead:
                    sink.write(data)
                    await sink.drain()
        finally:
            if sink not in self._dead:
                self._ends.discard(sink)
                sink.close()

    def close(self) -> None:
        for end in self._ends:
            end.close()


@asynccontextmanager
async def dead_line() -> AsyncIterator[Line]:
    line = Line()
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.close()
