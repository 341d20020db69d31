"""Decides who may use which endpoint of AGENT_PORT.

Acting takes the key that the agent itself sends to the backend. Reading is open, except to the app's own code, which
may read only OPEN without the key, because its authors are not trusted. Pure. The key comparison takes constant time,
and a refusal never repeats what was sent.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from agent.config import Secret

OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""Open to everybody: they contain nothing about the app's owner, the backend or the app's output."""


@dataclass(frozen=True, slots=True)
class Refusal:
    message: str
    challenge: str = "Bearer"
    """The WWW-Authenticate header (RFC 6750, section 3)."""


def refusal(authorization: str | None, key: Secret | None) -> Refusal | None:
    """Why a request with this Authorization header gets 401, or None if it is allowed."""
    if key is None:
        return Refusal("this agent was started without API_KEY and API_KEY_FILE, so its POST endpoints are disabled")
    if not authorization:
        return Refusal("this endpoint requires the header 'Authorization: Bearer <API_KEY>'")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return Refusal("the Authorization header has another scheme (required: 'Bearer <API_KEY>')")
    sent = token.strip().encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(sent, key.reveal().encode()):
        return Refusal("the bearer token is not this agent's API_KEY", 'Bearer error="invalid_token"')
    return None


def app_code_refusal(path: str, authorization: str | None, key: Secret | None) -> Refusal | None:
    """Why the app's own code may not read `path`, or None if it may."""
    return None if path in OPEN else refusal(authorization, key)
