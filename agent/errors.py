"""The one family of errors that this program raises on purpose.

Each kind says what to do about it by its type, never by its text: a caller asks `retryable`, the person reads
the message. Errors of the operating system and of aiohttp are turned into these where they are met (the rooms'
outer modules), so that no deciding module ever sees them.

A message names the thing that is wrong and what would be right. It never holds a secret.
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of all; never raised itself.

    `code` is the stable name used in logs, /status and metrics. `retryable` says whether the same call may go
    through later with nothing changed by anybody here.
    """

    code: ClassVar[str] = "agent"
    retryable: ClassVar[bool] = False


class ConfigError(AgentError):
    """The environment (contract, section 1) cannot be used: exit status 2, before anything was started."""

    code = "config"


class Occupied(ConfigError):
    """Something that is not ours holds what we need: a port, or the state folder's lock."""

    code = "occupied"


class BackendError(AgentError):
    """The backend, or the way to it, failed (contract, section 2). The disk was not touched.

    `retry_after` is the backend's own word in seconds, where it gave one.
    """

    code = "backend"
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(BackendError):
    """No answer, or one that broke off: refused, timed out, reset, cut off."""

    code = "unreachable"


class Unauthorized(BackendError):
    """401 or 403: the key is wrong."""

    code = "unauthorized"


class NoToken(BackendError):
    """There is no API_KEY, and the machine's own socket gave no token: nothing was asked of the backend."""

    code = "no_token"


class NoSuchApp(BackendError):
    """404: the backend does not know APP_ID."""

    code = "no_such_app"


class Throttled(BackendError):
    """429 or 503: later, and `retry_after` says when."""

    code = "throttled"


class BadAnswer(BackendError):
    """The backend answered something that the contract does not allow. Nothing of it is applied."""

    code = "bad_answer"


class WrongBase(BadAnswer):
    """A delta against a tag that is not ours: the next request asks for the whole set (contract, section 3)."""

    code = "wrong_base"


class MachineError(AgentError):
    """The machine's own socket is not there, refused, or answered nothing that can be used.

    `status` is that of the answer, where there was one: what is asked again unchanged is refused again below 500.
    """

    code = "machine"
    retryable = True

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DiskError(AgentError):
    """The workspace or the state folder refused a write. `str()` names the path and the system's reason. `full`: there
    was no room, so that it may help to make some.
    """

    code = "disk"
    retryable = True

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full
