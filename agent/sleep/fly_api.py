"""The machine's own socket on Fly: a snapshot of this machine, and a signed word for who it is.

Fly's init listens there and passes a part of the Machines API on with a credential that is good for this machine alone.
Only root may connect; the dev server, which runs user code, is another user. Each call has a connection of its own:
nothing is kept open that a snapshot would freeze.

What must not live here: when to sleep (idle.py), what a token says and when to renew it (renewal.py).
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

CALL_SECONDS = 5.0
"""For one call from the connect to the last byte. An answer to `suspend` comes 2 to 4 s before the freeze."""

MAX_ANSWER = 64 * 1024
_BASE = "http://flaps/v1"


class FlySocket:
    """Every failure of a call is a MachineError that says what was asked and what came of it."""

    def __init__(self, machine: FlyMachine) -> None:
        self._machine = machine

    def available(self) -> str | None:
        """Why the socket cannot be used, or None. Cheap; it may change while the machine boots."""
        path = self._machine.socket
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return f"there is no socket at {path}: this is no Fly machine, or it has not booted yet"
        except OSError as error:
            return f"{path} cannot be looked at: {error.strerror}"
        if not stat.S_ISSOCK(mode):
            return f"{path} is no socket"
        if not os.access(path, os.W_OK):
            return f"{path} is not for this user: Fly lets root alone connect, so run the agent as root"
        return None

    async def suspend(self) -> None:
        """Ask for a snapshot of this machine. It freezes 2 to 4 s after this has returned, not at once, and goes on
        at the same place when it is started again. MachineError: it goes on running (a machine with over 2 GB of
        memory, with swap or with a schedule cannot be suspended), unless no answer came at all.
        """
        app, machine = quote(self._machine.app, safe=""), quote(self._machine.machine, safe="")
        await self._post("a snapshot", f"/apps/{app}/machines/{machine}/suspend", None)

    async def token(self, audience: str) -> Secret:
        """A signed token for `audience`, as it came: the body is the bare JWT, not JSON."""
        body = await self._post("a token", "/tokens/oidc", {"aud": audience})
        return Secret(body.decode("utf-8", "replace").strip())

    async def _post(self, what: str, path: str, body: Mapping[str, str] | None) -> bytes:
        if (reason := self.available()) is not None:
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
            raise MachineError(f"asked for {what}, the machine's socket gave no answer in {CALL_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = getattr(getattr(error, "os_error", error), "strerror", None) or type(error).__name__
            raise MachineError(f"asked for {what}, the machine's socket failed: {reason}") from error
        if not 200 <= answer.status < 300:
            raise MachineError(_refusal(what, answer.status, data, answer.headers), status=answer.status)
        if len(data) > MAX_ANSWER:
            raise MachineError(f"asked for {what}, the machine's socket sent over {MAX_ANSWER:,} bytes")
        return data


def _refusal(what: str, status: int, data: bytes, headers: Mapping[str, str]) -> str:
    """With Fly's own words, and the id by which its support finds the request."""
    request = headers.get("fly-request-id")
    return (
        f"asked for {what}, Fly answered {status}"
        + (f": {words}" if (words := _words(data)) else "")
        + (f" (fly-request-id {_plain(request)})" if request else "")
    )


def _words(data: bytes) -> str:
    try:
        said: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _plain(data.decode("utf-8", "replace"))
    if not isinstance(said, dict):
        return ""
    return _plain(next((said[key] for key in ("error", "message") if isinstance(said.get(key), str)), ""))


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:200]).strip()
