"""Authorizes requests: by a bearer key, which is valid for one app, or by a trusted machine's token.

A key is stored and looked up as its sha256, so the time of the lookup reveals nothing about the key. Without a valid
key the answer is 401, whether the app exists or not. With the key of another app it is 403, and 404 for an app that
does not exist. So the holder of any key can learn that an app of a name exists. That is accepted: names are part of
preview addresses and not secret, and a mistyped APP_ID is reported as such.

What must not live here: creating apps (store.py), checking a machine's token (machine_tokens.py).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent.config import Secret
from agent.paths import shown
from control.errors import Forbidden, NotFound, Unauthorized
from control.storage.store import Store


@dataclass(frozen=True, slots=True)
class Trust:
    """Which machines' tokens are accepted, and for which apps."""

    issuer: str
    audience: str
    """This backend's address, equal to the agents' API_URL."""
    machines: Mapping[str, frozenset[tuple[str, str]]]
    """App id → its machines, each as (Fly app, machine id)."""


MachineCheck = Callable[[str, Secret], Awaitable[None]]
"""Raises unless the token belongs to a machine that previews the app."""

_DOTS_OF_A_JWT = 2
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="preview control plane"'}


def new_key() -> Secret:
    return Secret("pk_" + secrets.token_urlsafe(32))


def digest(key: Secret) -> str:
    return hashlib.sha256(key.reveal().encode()).hexdigest()


async def authorize(store: Store, app_id: str, authorization: str | None, machine: MachineCheck | None = None) -> None:
    """Raise unless the Authorization header carries a key of the app, or the token of one of its machines."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("a key is required: send Authorization: Bearer <key>", _CHALLENGE)
    key = Secret(token.strip().encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    with store.snapshot() as snapshot:
        key_app = snapshot.app_of_key(digest(key))
        if key_app == app_id:
            return
        exists = snapshot.head(app_id) is not None
    if key_app is None and machine is not None and key.reveal().count(".") == _DOTS_OF_A_JWT:
        await machine(app_id, key)
    elif key_app is None:
        raise Unauthorized(
            "this key is not known",
            _CHALLENGE | {"WWW-Authenticate": _CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'},
        )
    elif exists:
        raise Forbidden(f"this key is for another app than {shown(app_id)!r}")
    if not exists:
        raise NotFound(f"there is no app {shown(app_id)!r}")
