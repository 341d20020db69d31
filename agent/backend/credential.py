"""The credential for the backend: API_KEY, or on Fly a token from the machine's own socket.

One token is requested at a time; meanwhile requests use the current token if it is valid. After a failure that token
is used until it expires. Then each request fails with a NoToken that says why, and the socket is asked again with
back-off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from agent.backend.session import Token, fixed
from agent.backend.token_renewal import Malformed, Now, Renewal, valid_seconds
from agent.clock import Clock
from agent.config import FlyMachine, Secret, Settings
from agent.errors import MachineError, NoToken

log = structlog.get_logger()


class IdentityTokens(Protocol):
    """The part of the machine's own socket that issues identity tokens. Raises MachineError."""

    async def token(self, audience: str) -> Secret: ...


def credential(settings: Settings, clock: Clock, tokens: Callable[[FlyMachine], IdentityTokens]) -> Token:
    """The credential of requests to the backend: API_KEY, or else the machine's token (contract, sections 1 and 6).

    `tokens` returns a client of the machine's own socket.
    """
    if settings.api_key is None and settings.fly is not None:
        return MachineToken(tokens(settings.fly), audience=settings.api_url, clock=clock)
    return fixed(settings.api_key)


class MachineToken:
    """Implements agent.backend.session.Token. Not thread-safe.

    `audience` is API_URL as in the settings, without a trailing slash: the backend compares it letter by letter.
    """

    def __init__(self, socket: IdentityTokens, *, audience: str, clock: Clock) -> None:
        self._socket = socket
        self._audience = audience
        self._clock = clock
        self._token: Secret | None = None
        self._renewal = Renewal()
        self._why = "it was not asked yet"
        self._asking = asyncio.Lock()

    async def __call__(self) -> Secret:
        if self._renewal.step(self._now()) == "ask" and not (self._asking.locked() and self._usable()):
            async with self._asking:
                if self._renewal.step(self._now()) == "ask":  # no other task renewed it meanwhile
                    await self._renew()
        if self._token is None or not self._renewal.stands(self._now()):
            raise NoToken(f"no key: API_KEY is not set and the machine's own socket did not give a token: {self._why}")
        return self._token

    def doubt(self, key: Secret | None) -> bool:
        if key is not None and key is not self._token:
            return True  # there is a newer one already
        self._renewal, granted = self._renewal.doubted(self._now())
        return granted

    def _usable(self) -> bool:
        return self._renewal.stands(self._now()) and not self._renewal.doubts

    async def _renew(self) -> None:
        try:
            token = await self._socket.token(self._audience)
            life = valid_seconds(token.reveal(), wall=self._clock.wall())
        except (MachineError, Malformed) as error:
            self._why = f"the answer is not a token: {error}" if isinstance(error, Malformed) else str(error)
            if not self._renewal.tries:
                log.warning("token.failed", why=self._why, last_one_stands=self._renewal.stands(self._now()))
            self._renewal = self._renewal.failed(self._now(), chance=self._clock.chance())
            return
        log.info("token.renewed", life_s=round(life), audience=self._audience)
        self._token, self._renewal = token, self._renewal.renewed(life, self._now())

    def _now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.wall())
