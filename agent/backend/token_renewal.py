"""Decides when a token is renewed, from the times in it.

Pure. Two clocks are needed: on a machine that is frozen and resumed the monotonic clock never shows it, and the wall
clock is behind until it is corrected. So a token's age is that of the faster clock, and a resume or a 401 raises a
doubt (`doubted`).

What must not live here: checking a signature, which only the backend does.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from agent.clock import full_jitter

PART_OF_LIFE = 0.8
BEFORE_END_SECONDS = 60.0
BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0
DOUBT_SECONDS = 10.0
"""A doubt sooner than this after a granted one has another cause than the token's age."""

_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")


class Malformed(ValueError):
    """Not a valid token. The message never quotes it."""


def valid_seconds(token: str, *, wall: float) -> float:
    """The seconds that a token received at `wall` is valid for.

    Computed from its own `iat` and `exp`, so that a wrong wall clock does no harm. If the wall clock is plausible, the
    time since the token was issued is subtracted.
    """
    claims = _claims(token)
    expires = _moment(claims, "exp")
    if expires is None:
        raise Malformed("it has no time of expiry (exp)")
    issued = _moment(claims, "iat")
    left = expires - wall
    whole = left if issued is None else expires - issued
    if whole <= 0:
        raise Malformed("it has expired already (exp)" if issued is None else "it ends before it was issued (exp, iat)")
    return left if 0 < left < whole else whole


def _claims(token: str) -> dict[str, Any]:
    found = _JWT.fullmatch(token)
    if found is None:
        raise Malformed("it is not a JWT: three parts of base64url with a dot between each two")
    payload = found[1]
    try:
        claims = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        raise Malformed("its claims are not JSON") from None
    if not isinstance(claims, dict):
        raise Malformed("its claims are not a JSON object")
    return claims


def _moment(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Malformed(f"its {name} is not a number of seconds")
    return float(value)


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks at one moment."""

    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class Renewal:
    """One token's life, and what came of asking for the next. `life` 0: there is no token.

    `tries`: failures in a row. `ask_at`: monotonic, not before. `doubts`: the token may be over, whatever the clocks
    say. `granted`: monotonic, when a doubt was last granted.
    """

    life: float = 0.0
    came: Now = Now(0.0, 0.0)
    tries: int = 0
    ask_at: float = 0.0
    doubts: bool = False
    granted: float | None = None

    def stands(self, now: Now) -> bool:
        """True if the token can still be sent."""
        return self._age(now) < self.life

    def step(self, now: Now) -> Literal["use", "ask", "use for want of a better", "none"]:
        """What to do when a token is wanted. "ask" where another one is due, even though this one may still stand."""
        if self.stands(now) and not self.doubts and self._age(now) < self._due():
            return "use"
        if now.monotonic >= self.ask_at:
            return "ask"
        return "use for want of a better" if self.stands(now) else "none"

    def renewed(self, life: float, now: Now) -> Renewal:
        return Renewal(life=life, came=now, granted=self.granted)

    def failed(self, now: Now, *, chance: float) -> Renewal:
        pause = full_jitter(self.tries + 1, base=BACKOFF_BASE, cap=BACKOFF_CAP, chance=chance)
        return replace(self, tries=self.tries + 1, ask_at=now.monotonic + pause)

    def doubted(self, now: Now) -> tuple[Renewal, bool]:
        """The state after a 401 or a resume, and whether another token is requested because of it."""
        if self.doubts:
            return self, True
        if self.granted is not None and now.monotonic - self.granted < DOUBT_SECONDS:
            return self, False
        return replace(self, doubts=True, granted=now.monotonic), True

    def _age(self, now: Now) -> float:
        return max(now.monotonic - self.came.monotonic, now.wall - self.came.wall)

    def _due(self) -> float:
        """The age at which the token is renewed: four fifths of its validity or a minute before its end, whichever is
        sooner. A token of less than two minutes is renewed at half, or else it would be renewed for each request.
        """
        return min(self.life * PART_OF_LIFE, max(self.life - BEFORE_END_SECONDS, self.life / 2))
