"""The way to the backend: its address, our credential, and the one HTTP session that both are used through.

Rooms that talk to the backend are handed this session; none of them sees the key. The credential is for API_URL only,
so each request says `allow_redirects=False`: a redirect would carry it to whoever the backend points at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import aiohttp
from aiohttp.compression_utils import HAS_ZSTD

from agent import __version__
from agent.config import Secret

Token = Callable[[], Awaitable[Secret | None]]
"""Asked before every request, so that a credential may be renewed while the agent runs."""

CONNECT_SECONDS = 10.0


def fixed(key: Secret | None) -> Token:
    async def token() -> Secret | None:
        return key

    return token


def app_path(api_url: str, app_id: str, tail: str) -> str:
    """The address of one of the app's own resources: `files`, `files/blobs/<sha256>`, `activity`."""
    return f"{api_url}/api/vendor/apps/{quote(app_id, safe='')}/{tail}"


def open_session(token: Token) -> aiohttp.ClientSession:
    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        key = await token()
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"
        return await handler(request)

    return aiohttp.ClientSession(
        headers={
            "User-Agent": f"preview-agent/{__version__}",
            "Accept-Encoding": "gzip, zstd" if HAS_ZSTD else "gzip",
        },
        middlewares=(authorize,),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
