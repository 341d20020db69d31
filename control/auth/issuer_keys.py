"""The public keys of whoever signs machines' tokens: found by OpenID Connect discovery, kept, fetched again seldom.

Invariants: every fetch has a deadline and a limit of bytes; a token, which anybody can make up, causes one fetch in
10 s at most; keys that were had go on being used while the issuer is away.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import orjson
import structlog

from agent.clock import Clock
from control.errors import Unavailable

FETCH_SECONDS = 5.0
AGAIN_SECONDS = 10.0
KEEP_SECONDS = 3_600.0
"""A key that its issuer has withdrawn is believed no longer than that."""
MAX_BYTES = 256 * 1024

log = structlog.get_logger()


class Issuer:
    def __init__(self, url: str, session: aiohttp.ClientSession, clock: Clock) -> None:
        """`url`: the `iss` of its tokens, letter by letter."""
        self._url = url
        self._session = session
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._asked: float | None = None
        self._failure: str | None = None
        self._fetching = asyncio.Lock()

    async def key(self, name: str) -> jwt.PyJWK | None:
        """The key of that name (`kid`), None where the issuer has none. Unavailable where that cannot be known."""
        if not self._is_fresh(name):
            async with self._fetching:
                if not self._is_fresh(name) and self._may_ask():
                    await self._fetch()
        if name not in self._keys and self._failure is not None:
            raise Unavailable(f"the keys of {self._url} cannot be had: {self._failure}", {"Retry-After": "5"})
        return self._keys.get(name)

    def _is_fresh(self, name: str) -> bool:
        return name in self._keys and self._within(self._fetched, KEEP_SECONDS)

    def _may_ask(self) -> bool:
        return not self._within(self._asked, AGAIN_SECONDS)

    def _within(self, moment: float | None, seconds: float) -> bool:
        return moment is not None and self._clock.monotonic() - moment < seconds

    async def _fetch(self) -> None:
        self._asked = self._clock.monotonic()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = await self._key_set()
        except TimeoutError:
            self._failure = f"no answer in {FETCH_SECONDS:g} s"
        except (aiohttp.ClientError, OSError, ValueError, jwt.PyJWTError) as error:
            self._failure = str(error) or type(error).__name__
        else:
            self._failure = None
            self._fetched = self._asked
            return
        log.warning("issuer.keys_failed", issuer=self._url, why=self._failure, keys_kept=len(self._keys))

    async def _key_set(self) -> dict[str, jwt.PyJWK]:
        document = await self._json(self._url.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._url:
            raise ValueError("its discovery document is another issuer's")
        address = document.get("jwks_uri")
        if not isinstance(address, str) or urlsplit(address).scheme != urlsplit(self._url).scheme:
            raise ValueError("its discovery document names no jwks_uri of the same scheme")
        keys = jwt.PyJWKSet.from_dict(await self._json(address)).keys
        return {key.key_id: key for key in keys if key.key_id is not None}

    async def _json(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answers {answer.status}")
            data = b""
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > MAX_BYTES:
                    raise ValueError(f"{url} sends over {MAX_BYTES:,} bytes")
        value = orjson.loads(data)
        if not isinstance(value, dict):
            raise ValueError(f"{url} is no JSON object")  # noqa: TRY004 - what a stranger sent is no type error of ours
        return value
