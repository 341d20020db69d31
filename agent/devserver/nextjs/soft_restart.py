"""Next's own restart: a new server process under the same parent, in about a second, keeping the cache and the port.

Requested on the loopback port; the gateway blocks the path for visitors. A page is requested afterwards, so that the
agent and not a visitor waits for the first compile.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp
import orjson

from agent.devserver.nextjs import readiness

SECONDS: Final = 30.0
ASK_SECONDS: Final = 3.0
PAUSE: Final = 0.05

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


async def soft_restart(session: aiohttp.ClientSession, port: int) -> bool:
    """Return whether a new server process answers. False if this is not Next, or if it does not respond any more."""
    with suppress(*_FAILURES):
        async with asyncio.timeout(SECONDS):
            before = await _execution_id(session, port)
            if before is None:
                return False
            url = f"http://127.0.0.1:{port}/__nextjs_restart_dev"
            async with asyncio.timeout(ASK_SECONDS), session.post(url, allow_redirects=False) as response:
                if response.status != 204:
                    return False
            await _wait_for_another(session, port, before)
            await readiness.wait_for_answer(session, port)
            return True
    return False


async def _wait_for_another(session: aiohttp.ClientSession, port: int, before: str) -> None:
    while True:
        if await _execution_id(session, port) not in {None, before}:
            return
        await asyncio.sleep(PAUSE)


async def _execution_id(session: aiohttp.ClientSession, port: int) -> str | None:
    """Next's id of the server process; None while none answers."""
    with suppress(*_FAILURES, orjson.JSONDecodeError):
        url = f"http://127.0.0.1:{port}/__nextjs_server_status"
        async with asyncio.timeout(ASK_SECONDS), session.get(url, allow_redirects=False) as response:
            status = orjson.loads(await response.content.read(readiness.STATUS_BYTES))
            return str(status["executionId"]) if isinstance(status, dict) and "executionId" in status else None
    return None
