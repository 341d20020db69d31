"""The errors that become HTTP responses, each class with its status.

The message becomes the response's `error`. It names what is wrong and what would be right, and never contains a
secret. web.py is the only module that writes the bodies of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class RequestError(Exception):
    """Base class, never raised itself. `headers` are added to the response."""

    status: ClassVar[int] = 400

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class BadRequest(RequestError):
    """The body or the path does not have the form that the contract defines."""


class Unauthorized(RequestError):
    """No key, or an unknown one."""

    status = 401


class Forbidden(RequestError):
    """A key that is valid for another app only."""

    status = 403


class NotFound(RequestError):
    status = 404


class NotAcceptable(RequestError):
    """The client accepts none of the formats in which the set can be sent."""

    status = 406


class Conflict(RequestError):
    """The change contradicts what is stored."""

    status = 409


class Stale(RequestError):
    """If-Match does not name the current set."""

    status = 412


class TooLarge(RequestError):
    """A limit is exceeded (contract, section 5)."""

    status = 413


class BadRange(RequestError):
    """The requested range contains no byte."""

    status = 416


class ServiceUnavailable(RequestError):
    """A server that this answer depends on does not respond. `Retry-After` says when to ask again."""

    status = 503
