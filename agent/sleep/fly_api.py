"""Client of the machine's own socket on Fly: suspends this machine, and gets signed identity tokens.

Fly's init listens on the socket and forwards a part of the Machines API with a credential for this machine only. Only
root may connect; the app's code runs as another user. Each call opens its own connection, so that no open connection
is frozen with a snapshot.

What must not live here: when to sleep (controller.py), when to renew a token (agent/backend/token_renewal.py).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from agent.config import FlyMachine, Secret
from agent.errors import MachineError
from agent.text import printable

CALL_SECONDS = 5.0
"""For one call from connect to the last byte. The answer to `suspend` arrives 2 to 4 s before the freeze."""

MAX_ANSWER = 64 * 1024
MESSAGE_CHARACTERS = 200
_BASE = "http://flaps/v1"


class FlySocket:
    """Every failed call raises a MachineError that names the call and the result."""

    def __init__(self, machine: FlyMachine) -> None:
        self._machine = machine

    def unavailable(self) -> str | None:
        """Why the socket cannot be used, or None. Cheap; the result may change while the machine boots."""
        path = self._machine.socket
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return f"there is no socket at {path}: this is not a Fly machine, or it has not booted yet"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        if not stat.S_ISSOCK(mode):
            return f"{path} is not a socket"
        if not os.access(path, os.W_OK):
            return f"{path} does not accept this user: on Fly only root can connect, so run the agent as root"
        return None

    async def suspend(self) -> None:
        """Request a snapshot of this machine. The machine freezes 2 to 4 s after this returns, and continues at the
        same place when it is started again. After a MachineError it keeps running (a machine with over 2 GB of memory,
        with swap or with a schedule cannot be suspended), unless there was no answer at all.
        """
        app, machine = quote(self._machine.app, safe=""), quote(self._machine.machine, safe="")
        await self._post("a snapshot", f"/apps/{app}/machines/{machine}/suspend", None)

    async def token(self, audience: str) -> Secret:
        """A signed token for `audience`. The body of the answer is the bare JWT, not JSON."""
        body = await self._post("a token", "/tokens/oidc", {"aud": audience})
        return Secret(body.decode("utf-8", "replace").strip())

    async def _post(self, what: str, path: str, body: Mapping[str, str] | None) -> bytes:
        if (reason := self.unavailable()) is not None:
            raise MachineError(reason)
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(self._machine.socket)), cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.post(
                    _BASE + path,
                    data=None if body is None else orjson.dumps(body),
                    headers={} if body is None else {"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as answer,
            ):
                data = await answer.content.read(MAX_ANSWER + 1)
                while len(data) <= MAX_ANSWER and (more := await answer.content.read(MAX_ANSWER + 1 - len(data))):
                    data += more
        except TimeoutError:
            raise MachineError(
                f"requesting {what}: the machine's socket did not answer within {CALL_SECONDS:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = getattr(getattr(error, "os_error", error), "strerror", None) or type(error).__name__
            raise MachineError(f"requesting {what}: the machine's socket failed: {reason}") from error
        if not 200 <= answer.status < 300:
            raise MachineError(_refusal(what, answer.status, data, answer.headers), status=answer.status)
        if len(data) > MAX_ANSWER:
            raise MachineError(f"requesting {what}: the machine's socket sent over {MAX_ANSWER:,} bytes")
        return data


def _refusal(what: str, status: int, data: bytes, headers: Mapping[str, str]) -> str:
    """The message for a refused call: Fly's own message, and the id by which Fly's support finds the request."""
    request = headers.get("fly-request-id")
    return (
        f"requesting {what}: Fly answered {status}"
        + (f": {message}" if (message := _message(data)) else "")
        + (f" (fly-request-id {printable(request, MESSAGE_CHARACTERS)})" if request else "")
    )


def _message(data: bytes) -> str:
    try:
        payload: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return printable(data.decode("utf-8", "replace"), MESSAGE_CHARACTERS)
    if not isinstance(payload, dict):
        return ""
    message = next((payload[key] for key in ("error", "message") if isinstance(payload.get(key), str)), "")
    return printable(message, MESSAGE_CHARACTERS)
