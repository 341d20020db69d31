"""Authorizes a machine by the OIDC token that its platform signed (contract, section 6).

Checks the signature against the issuer's keys, and the claims iss, aud, exp, nbf, iat, app_name and machine_id. A
refusal names the claim that failed, in its message and in error_description; it never contains the token.

What must not live here: fetching the keys (issuer_keys.py).
"""

from __future__ import annotations

from typing import Any

import jwt

from agent.config import Secret
from agent.paths import shown
from control.auth.issuer_keys import Issuer
from control.auth.keys import Trust
from control.errors import Forbidden, RequestError, Unauthorized

LEEWAY_SECONDS = 30.0
ALGORITHMS = ("RS256", "ES256")
"""Asymmetric algorithms only: with a symmetric one, anybody who has the published key could sign."""

_REALM = 'Bearer realm="preview control plane"'
_FAULTS: tuple[tuple[type[jwt.InvalidTokenError], str, str], ...] = (
    (jwt.ExpiredSignatureError, "exp", "is in the past"),
    (jwt.ImmatureSignatureError, "nbf", "or iat is in the future"),
    (jwt.InvalidIssuedAtError, "iat", "is not a time"),
    (jwt.InvalidAudienceError, "aud", "is not this backend"),
    (jwt.InvalidIssuerError, "iss", "is not the issuer that this backend trusts"),
)


class MachineTokens:
    def __init__(self, trust: Trust, issuer: Issuer) -> None:
        self._trust = trust
        self._issuer = issuer

    async def authorize(self, app_id: str, token: Secret) -> None:
        """Raise a RequestError with the reason, unless the token belongs to a machine that previews the app."""
        claims = await self._claims(token)
        machines = self._trust.machines.get(app_id, frozenset())
        if not any(app == claims["app_name"] for app, _ in machines):
            raise _refusal(Forbidden, "app_name", f"is not the Fly app of {shown(app_id)!r}")
        if not any(machine == (claims["app_name"], claims["machine_id"]) for machine in machines):
            raise _refusal(Forbidden, "machine_id", f"is not a machine of {shown(app_id)!r}")

    async def _claims(self, token: Secret) -> dict[str, Any]:
        text = token.reveal()
        try:
            name = jwt.get_unverified_header(text).get("kid")
        except jwt.InvalidTokenError:
            raise _invalid("this token is not a JWT") from None
        key = await self._issuer.key(name) if isinstance(name, str) else None
        if key is None:
            raise _invalid("this token is not signed with a key of the issuer that this backend trusts")
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=ALGORITHMS,
                issuer=self._trust.issuer,
                audience=self._trust.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "app_name", "machine_id"]},
            )
        except jwt.MissingRequiredClaimError as error:
            raise _refusal(Unauthorized, error.claim, "is missing") from None
        except jwt.InvalidTokenError as error:
            for kind, claim, fault in _FAULTS:
                if isinstance(error, kind):
                    raise _refusal(Unauthorized, claim, fault) from None
            raise _invalid("this token has a wrong signature or form") from None
        return claims


def _refusal(kind: type[RequestError], claim: str, fault: str) -> RequestError:
    return kind(
        f"this token's claim {claim} {fault}",
        {"WWW-Authenticate": f'{_REALM}, error="invalid_token", error_description="claim {claim}"'},
    )


def _invalid(message: str) -> RequestError:
    return Unauthorized(message, {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})
