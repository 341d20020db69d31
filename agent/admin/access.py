"""Who may ask this agent to act: whoever holds the key that the agent itself shows to the backend. And what the app's
own code may read without that key, where it is known by its user: hardly anything, since strangers wrote it.

Pure. The comparison takes the same time wherever the two differ. A refusal says why, and never what was sent.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from agent.config import Secret

OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""What anybody may read: nothing of the app's owner, of the backend or of the output is in them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`challenge` is the WWW-Authenticate header (RFC 6750, section 3)."""

    message: str
    challenge: str = "Bearer"


def refusal(authorization: str | None, key: Secret | None) -> Refusal | None:
    """Why a request with this Authorization header is answered with 401, or None where it may go on."""
    if key is None:
        return Refusal("this agent was started without API_KEY and API_KEY_FILE, so nobody can ask it to act")
    if not authorization:
        return Refusal("this endpoint takes the header 'Authorization: Bearer <API_KEY>'")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return Refusal("the Authorization header is of another scheme (it takes 'Bearer <API_KEY>')")
    sent = token.strip().encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(sent, key.reveal().encode()):
        return Refusal("the bearer token is not this agent's API_KEY", 'Bearer error="invalid_token"')
    return None


def hidden(path: str, authorization: str | None, key: Secret | None) -> Refusal | None:
    """Why the app's own code may not read `path`, or None where it may."""
    return None if path in OPEN else refusal(authorization, key)
