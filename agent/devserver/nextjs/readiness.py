"""Probes the dev server: readiness (its first page, once after a start) and liveness (from then on).

Next prints "Ready" and opens its port before it has read its configuration or compiled anything, and a connection that
it accepts then waits. So the readiness probe is a GET of `/`, which also makes Next compile the page that a visitor
requests first. The liveness probe is a path for which Next compiles nothing, prints nothing and messages no browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import aiohttp
import orjson

from agent.devserver import address
from agent.devserver.address import Address
from agent.devserver.frameworks.framework import LivenessProbe

READY_SECONDS = 180.0
ALIVE_SECONDS = 5.0
REFUSED_PAUSE = 0.1
STATUS_BYTES = 1024
PAGE_BYTES = 128 * 1024
PAGE_SECONDS = 5.0
"""Limit for reading a page up to its first script: a streamed page may never end."""

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


async def wait_for_answer(session: aiohttp.ClientSession, port: int) -> None:
    """Return when `GET /` was answered, with any status, however long that takes."""
    await _first(session, port)


async def first_page(session: aiohttp.ClientSession, port: int, texts: Iterable[str], names: Iterable[str]) -> Address:
    """Wait for the first response, and find the path of the app's first page. A page under another path than `/` is
    compiled before this returns. `texts` and `names`: see address.configured.
    """
    for path in address.configured(texts, names):  # before `/`, because a path that does not exist costs a compile too
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
    """Whether the module at `path` is served to a request like that of a page that imports it."""
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


class LivenessCheck:
    """The liveness probe of one process."""

    def __init__(self, session: aiohttp.ClientSession, port: int, probe: LivenessProbe) -> None:
        self._session = session
        self._port = port
        self._probe = probe
        self._path_is_known = False

    async def alive(self) -> bool:
        """Whether the server is alive. Takes at most ALIVE_SECONDS if the port is open."""
        # The kernel accepts connections for a program that hangs, so an open port counts only for a server that never
        # answered the probe's path.
        return await self.answers() or (not self._path_is_known and await _accepts(self._port))

    async def answers(self) -> bool:
        """As `alive`, for a server that has not served a page yet: if the probe has a path, an open port does not
        count. Next opens the port before it reads its configuration, and keeps it open if it then gives up.
        """
        probe = self._probe
        if probe.path is None:
            return await _accepts(self._port)
        try:
            async with (
                asyncio.timeout(ALIVE_SECONDS),
                self._session.get(
                    _url(self._port, probe.path), headers=probe.headers, allow_redirects=False
                ) as response,
            ):
                self._path_is_known = self._path_is_known or await _has_sign(response, probe.sign)
                return True  # with any status: a program that answers HTTP is alive
        except _FAILURES:
            return False


async def _has_sign(response: aiohttp.ClientResponse, sign: str | None) -> bool:
    if sign is None:
        return True
    body = await response.content.read(STATUS_BYTES)
    with suppress(orjson.JSONDecodeError):
        parsed = orjson.loads(body)
        return response.status == 200 and isinstance(parsed, dict) and sign in parsed
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
