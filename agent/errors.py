"""The errors that the agent raises on purpose.

A caller decides by the type of an error, never by its text; people read the text. Errors of the operating system and
of aiohttp are converted to these where they occur, so that no deciding module sees them. A message names what is wrong
and what would be right, and never contains a secret.
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base class; never raised itself."""


class ConfigError(AgentError):
    """The environment (contract, section 1) is unusable: exit status 2, before anything was started."""


class Occupied(ConfigError):
    """Another process holds a port or the lock of the state folder."""


class SyncError(AgentError):
    """An exchange failed and is retried. `code` is its stable name in logs and in /status."""

    code: ClassVar[str]


class BackendError(SyncError):
    """The backend or the connection to it failed (contract, section 2). The disk was not changed."""

    code = "backend"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds from the Retry-After header, if there was one."""


class Unreachable(BackendError):
    """No complete answer: connection refused, timed out, reset or cut off."""

    code = "unreachable"


class Unauthorized(BackendError):
    """401 or 403: the key is wrong."""

    code = "unauthorized"


class NoToken(BackendError):
    """API_KEY is not set and the machine's own socket gave no token, so no request was sent."""

    code = "no_token"


class NoSuchApp(BackendError):
    """404: the backend does not know APP_ID."""

    code = "no_such_app"


class Throttled(BackendError):
    """429 or 503: retry later, after `retry_after` if it is set."""

    code = "throttled"


class BadAnswer(BackendError):
    """The answer violates the contract. None of it is applied."""

    code = "bad_answer"


class WrongBase(BadAnswer):
    """A delta against another tag than that on disk. The next request asks for the whole set (contract, section 3)."""

    code = "wrong_base"


class MachineError(AgentError):
    """The machine's own socket (the Fly API) is missing, refused, or sent an unusable answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, if there was an answer. Below 500 the same request will fail again."""


class DiskError(SyncError):
    """The workspace or the state folder could not be written. The text has the path and the system's reason."""

    code = "disk"

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full
        """The disk is full, so freeing space may help."""
