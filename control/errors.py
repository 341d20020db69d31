"""What a request is refused with: one family, each kind with its HTTP status.

The message is the answer's `error`: it names the thing that was wrong and what would be right, and never holds a
secret. web.py turns these into answers; nothing else in control/ writes an error's body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Refused(Exception):
    """Base of all; never raised itself. `headers` go out with the answer."""

    status: ClassVar[int] = 400

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class BadRequest(Refused):
    """The body or the address is not of the contract's form."""


class Unauthorized(Refused):
    """No key, or one that opens nothing."""

    status = 401


class Forbidden(Refused):
    """A key that opens another app."""

    status = 403


class NotFound(Refused):
    status = 404


class NotAcceptable(Refused):
    """The set has no form that the client takes."""

    status = 406


class Conflict(Refused):
    """The change disagrees with what is stored."""

    status = 409


class Stale(Refused):
    """A precondition (If-Match) names a set that is not the current one."""

    status = 412


class TooLarge(Refused):
    """One of the contract's limits (section 5)."""

    status = 413


class BadRange(Refused):
    """No byte of the requested range exists."""

    status = 416


class Unavailable(Refused):
    """It cannot be said now, because somebody else does not answer. `Retry-After` says when to ask again."""

    status = 503
