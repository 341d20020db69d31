"""Fetches and caches the public keys of the issuer that signs machines' tokens (OpenID Connect discovery).

Invariants: every fetch has a deadline and a size limit. Tokens, which anybody can forge, cause at most one fetch in
10 s. Keys that were fetched stay in use while the issuer does not answer.
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
from control.errors import ServiceUnavailable

FETCH_SECONDS = 5.0
AGAIN_SECONDS = 10.0
KEEP_SECONDS = 3_600.0
"""How long a key is used after its issuer may have withdrawn it."""
MAX_BYTES = 256 * 1024

log = structlog.get_logger()


class Issuer:
    def __init__(self, url: str, session: aiohttp.ClientSession, clock: Clock) -> None:
        """`url`: equal to the `iss` claim of the issuer's tokens."""
        self._url = url
        self._session = session
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._asked: float | None = None
        self._failure: str | None = None
        self._fetching = asyncio.Lock()

    async def key(self, name: str) -> jwt.PyJWK | None:
        """Return the key with this `kid`, or None if the issuer has none. Raise ServiceUnavailable if that is not
        known.
        """
        if not self._is_fresh(name):
            async with self._fetching:
                if not self._is_fresh(name) and self._may_ask():
                    await self._fetch()
        if name not in self._keys and self._failure is not None:
            raise ServiceUnavailable(
                f"the keys of {self._url} could not be fetched: {self._failure}", {"Retry-After": "5"}
            )
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
            raise ValueError("its discovery document names another issuer")
        address = document.get("jwks_uri")
        if not isinstance(address, str) or urlsplit(address).scheme != urlsplit(self._url).scheme:
            raise ValueError("its discovery document names no jwks_uri of the same scheme")
        keys = jwt.PyJWKSet.from_dict(await self._json(address)).keys
        return {key.key_id: key for key in keys if key.key_id is not None}

    async def _json(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answered with status {answer.status}")
            data = b""
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > MAX_BYTES:
                    raise ValueError(f"the answer of {url} has more than {MAX_BYTES:,} bytes")
        value = orjson.loads(data)
        if not isinstance(value, dict):
            raise ValueError(f"{url} is not a JSON object")  # noqa: TRY004 - the caller treats every bad answer alike
        return value
