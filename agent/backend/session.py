"""The HTTP session to the backend, which adds the credential to every request.

Rooms that use the backend get this session and never see the key. Redirects are not followed, because they would send
the credential to another host.
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
"""For this long after a redial, a connection has to be established within…"""
QUICK_CONNECT_SECONDS = 2.0
"""…this: the network of a resumed machine comes back gradually, so an early retry is better than a long wait."""

CLOSE_SECONDS = 1.0


class Token(Protocol):
    """A credential that may be renewed while the agent runs."""

    async def __call__(self) -> Secret | None:
        """The token to send, or None to send none. Called before every request. Raises a BackendError without one."""

    def doubt(self, key: Secret | None) -> bool:
        """`key` was refused (None: the machine was resumed, so any token may have expired). Returns True if a call
        may give another token.
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
    """The URL of one of the app's resources: `files`, `files/blobs/<sha256>`, `activity`."""
    return f"{api_url}/api/vendor/apps/{quote(app_id, safe='')}/{tail}"


class Session:
    """HTTP to the backend. The caller releases responses and converts aiohttp's errors and TimeoutError.

    `redial` may be called at any time from any task: open requests fail as if the backend had closed the connection.
    """

    def __init__(self, token: Token, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._quick_until = clock.monotonic()
        self._open = self._dial()

    async def get(
        self, url: str, *, headers: Mapping[str, str], silence: float, total: float, read_bufsize: int
    ) -> aiohttp.ClientResponse:
        """`silence`: read timeout in seconds; `total`: timeout of the whole exchange."""
        timeout = self._timeout(total=total, sock_read=silence)
        return await self._send("GET", url, headers, timeout=timeout, read_bufsize=read_bufsize)

    async def post(self, url: str, *, headers: Mapping[str, str], data: bytes) -> aiohttp.ClientResponse:
        """The caller limits the duration with asyncio.timeout."""
        return await self._send("POST", url, headers, timeout=self._timeout(), data=data)

    async def redial(self) -> None:
        """Replace all connections and doubt the token. Called after a resume, when sockets look open but the peers are
        gone.
        """
        self._token.doubt(None)
        self._quick_until = self._clock.monotonic() + AFTER_REDIAL_SECONDS
        before, self._open = self._open, self._dial()
        with suppress(TimeoutError):  # closing may wait for data that cannot be sent to a dead peer
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
            # Closing a connector cancels the tasks that wait for a free connection. Without a limit no task waits; the
            # rooms limit their own concurrency.
            connector=aiohttp.TCPConnector(limit=0, resolver=Names()),
            headers={
                "User-Agent": f"preview-agent/{__version__}",
                "Accept-Encoding": "gzip, zstd" if HAS_ZSTD else "gzip",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _send(self, method: str, url: str, headers: Mapping[str, str], **options: Any) -> aiohttp.ClientResponse:
        """Send a request with the credential. After a 401, send it once more if another credential is available."""
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
            # A redial during a name look-up cancels the waiting request from inside, although nobody cancelled its
            # task. Letting that through would silently end the task.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise aiohttp.ClientConnectionError("the connection was abandoned before it was established") from None

    def _timeout(self, *, total: float | None = None, sock_read: float | None = None) -> aiohttp.ClientTimeout:
        quick = self._clock.monotonic() < self._quick_until
        connect = QUICK_CONNECT_SECONDS if quick else CONNECT_SECONDS
        return aiohttp.ClientTimeout(total=total, connect=connect, sock_connect=connect, sock_read=sock_read)


def open_session(token: Token, clock: Clock | None = None) -> Session:
    return Session(token, clock or Clock())
