"""Does the dev server answer? Two questions: is a page there (once, after a start), and is it alive (from then on).

Next prints "Ready" and opens its port before it has read its configuration or compiled anything, and a connection
accepted then waits. So readiness is our own GET of `/`, which also makes Next compile the page that a visitor wants
first. Liveness is a path that compiles nothing, prints nothing and tells no browser.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import orjson

READY_SECONDS = 180.0
ALIVE_SECONDS = 5.0
REFUSED_PAUSE = 0.1
STATUS_BYTES = 1024

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


async def answered(session: aiohttp.ClientSession, port: int) -> int:
    """Return the status of the first HTTP answer to `GET /`, however long that takes: any status is an answer."""
    while True:
        with suppress(*_FAILURES):
            async with (
                asyncio.timeout(READY_SECONDS),
                session.get(_url(port, "/"), headers={"Accept": "text/html"}, allow_redirects=False) as response,
            ):
                return response.status
        await asyncio.sleep(REFUSED_PAUSE)


class Liveness:
    """Asks one process again and again."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port
        self._knows_the_path = False

    async def alive(self) -> bool:
        """Whether there is a sign of life. It takes ALIVE_SECONDS at most where the port is open."""
        try:
            async with (
                asyncio.timeout(ALIVE_SECONDS),
                self._session.get(_url(self._port, "/__nextjs_server_status"), allow_redirects=False) as response,
            ):
                self._knows_the_path = self._knows_the_path or await _is_next(response)
                return True  # whatever it says: a program that answers HTTP is alive
        except _FAILURES:
            # The kernel accepts connections for a program that hangs, so an open port says little. It is believed
            # only of a server that never answered this path.
            return not self._knows_the_path and await _accepts(self._port)


async def _is_next(response: aiohttp.ClientResponse) -> bool:
    body = await response.content.read(STATUS_BYTES)
    with suppress(orjson.JSONDecodeError):
        said = orjson.loads(body)
        return response.status == 200 and isinstance(said, dict) and "executionId" in said
    return False


async def _accepts(port: int) -> bool:
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(ALIVE_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return True
    return False


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"
