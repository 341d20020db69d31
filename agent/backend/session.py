"""The way to the backend: its address, our credential, and the one HTTP session that both are used through.

Rooms that talk to the backend are handed this session; none of them sees the key. The credential is for API_URL only,
so no redirect is followed: it would carry it to whoever the backend points at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import aiohttp
from aiohttp.compression_utils import HAS_ZSTD

from agent import __version__
from agent.backend.resolver import Names
from agent.clock import Clock
from agent.config import Secret

CONNECT_SECONDS = 10.0

AFTER_REDIAL_SECONDS = 15.0
"""How long after a redial a new connection has to stand within…"""
QUICK_CONNECT_SECONDS = 2.0
"""…this: the network of a machine that was just resumed comes back piece by piece; the next try finds more."""

CLOSE_SECONDS = 1.0


class Token(Protocol):
    """A credential that may be renewed while the agent runs."""

    async def __call__(self) -> Secret | None:
        """What to send: asked before every request. None: send none. Raises a BackendError that says why not."""

    def doubt(self, key: Secret | None) -> bool:
        """`key` was refused (None: the machine stood still, whatever it has may be over). True where asking again may
        give another one.
        """


class _Fixed:
    def __init__(self, key: Secret | None) -> None:
        self._key = key

    async def __call__(self) -> Secret | None:
        return self._key

    def doubt(self, key: Secret | None) -> bool:
        return False


def fixed(key: Secret | None) -> Token:
    return _Fixed(key)


def app_path(api_url: str, app_id: str, tail: str) -> str:
    """The address of one of the app's own resources: `files`, `files/blobs/<sha256>`, `activity`."""
    return f"{api_url}/api/vendor/apps/{quote(app_id, safe='')}/{tail}"


class Session:
    """HTTP to the backend. Answers are the caller's to release; aiohttp's errors and TimeoutError are its to turn.

    `redial` may come at any moment and from any task: requests that are under way fail as if the backend had hung up.
    """

    def __init__(self, token: Token, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._quick_until = clock.monotonic()
        self._open = self._dial()

    async def get(
        self, url: str, *, headers: Mapping[str, str], silence: float, total: float, read_bufsize: int
    ) -> aiohttp.ClientResponse:
        """`silence`: seconds in which nothing may come; `total`: those of the whole exchange."""
        timeout = self._timeout(total=total, sock_read=silence)
        return await self._send("GET", url, headers, timeout=timeout, read_bufsize=read_bufsize)

    async def post(self, url: str, *, headers: Mapping[str, str], data: bytes) -> aiohttp.ClientResponse:
        """How long it may take is the caller's to say, by asyncio.timeout."""
        return await self._send("POST", url, headers, timeout=self._timeout(), data=data)

    async def redial(self) -> None:
        """Trust no connection and no token from before. For a machine that stood still: its sockets look alive, the
        peers behind them are gone, and what is sent into them is answered by nobody.
        """
        self._token.doubt(None)
        self._quick_until = self._clock.monotonic() + AFTER_REDIAL_SECONDS
        before, self._open = self._open, self._dial()
        with suppress(TimeoutError):  # what could not be sent to a dead peer is not waited for
            async with asyncio.timeout(CLOSE_SECONDS):
                await before.close()

    async def close(self) -> None:
        await self._open.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _dial(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Closing a connector cancels, within the waiting task itself, who waits for a place in it. With no limit
            # nobody does; the rooms bound how much they ask at once.
            connector=aiohttp.TCPConnector(limit=0, resolver=Names()),
            headers={
                "User-Agent": f"preview-agent/{__version__}",
                "Accept-Encoding": "gzip, zstd" if HAS_ZSTD else "gzip",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _send(self, method: str, url: str, headers: Mapping[str, str], **options: Any) -> aiohttp.ClientResponse:
        """Send it with the credential; once more with a new one where the first is refused and another can be had."""
        key = await self._token()
        response = await self._send_with(key, method, url, headers, **options)
        if response.status != 401 or not self._token.doubt(key):
            return response
        try:
            another = await self._token()
        except BaseException:
            response.close()
            raise
        if another is key:
            return response
        response.release()
        return await self._send_with(another, method, url, headers, **options)

    async def _send_with(
        self, key: Secret | None, method: str, url: str, headers: Mapping[str, str], **options: Any
    ) -> aiohttp.ClientResponse:
        credential = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
        try:
            return await self._open.request(
                method, url, headers={**headers, **credential}, allow_redirects=False, **options
            )
        except asyncio.CancelledError:
            # A redial during the look-up of a name reaches who waits for it as a cancellation that nobody asked for.
            # Let through it would end the caller's task without a word.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise aiohttp.ClientConnectionError("the connection was given up before it stood") from None

    def _timeout(self, *, total: float | None = None, sock_read: float | None = None) -> aiohttp.ClientTimeout:
        quick = self._clock.monotonic() < self._quick_until
        connect = QUICK_CONNECT_SECONDS if quick else CONNECT_SECONDS
        return aiohttp.ClientTimeout(total=total, connect=connect, sock_connect=connect, sock_read=sock_read)


def open_session(token: Token, clock: Clock | None = None) -> Session:
    return Session(token, clock or Clock())
