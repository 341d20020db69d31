"""Does the dev server answer? Two questions: is a page there (once, after a start), and is it alive (from then on).

Next prints "Ready" and opens its port before it has read its configuration or compiled anything, and a connection
accepted then waits. So readiness is our own GET of `/`, which also makes Next compile the page that a visitor wants
first. Liveness is a path that compiles nothing, prints nothing and tells no browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import aiohttp
import orjson

from agent.devserver import address
from agent.devserver.address import Address
from agent.devserver.frameworks.framework import Liveness as Question

READY_SECONDS = 180.0
ALIVE_SECONDS = 5.0
REFUSED_PAUSE = 0.1
STATUS_BYTES = 1024
PAGE_BYTES = 128 * 1024
PAGE_SECONDS = 5.0
"""For as much of a page as names its scripts: a page that is streamed may never end."""

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


async def answered(session: aiohttp.ClientSession, port: int) -> int:
    """Return the status of the first HTTP answer to `GET /`, however long that takes: any status is an answer."""
    status, _, _ = await _first(session, port)
    return status


async def first_page(session: aiohttp.ClientSession, port: int, texts: Iterable[str], names: Iterable[str]) -> Address:
    """Wait for the first answer, and find out where the app's first page is: one that lies under another path than `/`
    is compiled before this returns. `texts` and `names`: see address.configured.
    """
    for path in address.configured(texts, names):  # first, since a path that is not there costs a compile of its own
        status, _, html = await _first(session, port, path)
        if status < 400:
            return Address(path, address.prefix_of(html) or path.rstrip("/"))
    status, location, html = await _first(session, port)
    if 300 <= status < 400 and location.startswith("/") and not location.startswith("//"):
        with suppress(*_FAILURES):
            _, _, html = await _get(session, port, location)
    prefix = address.prefix_of(html) or ""
    if status == 404 and prefix:
        with suppress(*_FAILURES):
            status, _, _ = await _get(session, port, prefix)
            if status != 404:
                return Address(prefix, prefix)
    return Address(prefix=prefix)


async def compiles(session: aiohttp.ClientSession, port: int, path: str) -> bool:
    """Whether the module at `path` is served, as a page that imports it would ask for it."""
    with suppress(*_FAILURES):
        async with (
            asyncio.timeout(ALIVE_SECONDS),
            session.get(_url(port, path), headers={"Accept": "*/*"}, allow_redirects=False) as response,
        ):
            return response.status == 200
    return False


async def _first(session: aiohttp.ClientSession, port: int, path: str = "/") -> tuple[int, str, str]:
    while True:
        with suppress(*_FAILURES):
            return await _get(session, port, path)
        await asyncio.sleep(REFUSED_PAUSE)


async def _get(session: aiohttp.ClientSession, port: int, path: str) -> tuple[int, str, str]:
    """Status, Location, and the beginning of the page."""
    async with (
        asyncio.timeout(READY_SECONDS),
        session.get(_url(port, path), headers={"Accept": "text/html"}, allow_redirects=False) as response,
    ):
        page = bytearray()
        with suppress(*_FAILURES):
            async with asyncio.timeout(PAGE_SECONDS):
                while len(page) < PAGE_BYTES and address.prefix_of(page.decode("utf-8", "replace")) is None:
                    chunk = await response.content.readany()
                    if not chunk:
                        break
                    page += chunk
        return response.status, response.headers.get("Location", ""), page.decode("utf-8", "replace")


class Liveness:
    """Asks one process again and again."""

    def __init__(self, session: aiohttp.ClientSession, port: int, question: Question) -> None:
        self._session = session
        self._port = port
        self._question = question
        self._knows_the_path = False

    async def alive(self) -> bool:
        """Whether there is a sign of life. It takes ALIVE_SECONDS at most where the port is open."""
        # The kernel accepts connections for a program that hangs, so an open port says little. It is believed
        # only of a server that never answered this path.
        return await self.answers() or (not self._knows_the_path and await _accepts(self._port))

    async def answers(self) -> bool:
        """As `alive`, of a server that has not shown anything yet: where there is a path, its open port is no sign.
        Next opens it before it reads its configuration, and keeps it open where it then gives up.
        """
        asked = self._question
        if asked.path is None:
            return await _accepts(self._port)
        try:
            async with (
                asyncio.timeout(ALIVE_SECONDS),
                self._session.get(
                    _url(self._port, asked.path), headers=asked.headers, allow_redirects=False
                ) as response,
            ):
                self._knows_the_path = self._knows_the_path or await _has_sign(response, asked.sign)
                return True  # whatever it says: a program that answers HTTP is alive
        except _FAILURES:
            return False


async def _has_sign(response: aiohttp.ClientResponse, sign: str | None) -> bool:
    if sign is None:
        return True
    body = await response.content.read(STATUS_BYTES)
    with suppress(orjson.JSONDecodeError):
        said = orjson.loads(body)
        return response.status == 200 and isinstance(said, dict) and sign in said
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
