"""Next's own restart: a new server process under the same parent, in about a second, with the cache and the port kept.

Only on the loopback port: the gateway keeps the path from everybody else. A page is asked for afterwards, so that it
is the agent that waits for the first compile, and no visitor.
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


async def recycle(session: aiohttp.ClientSession, port: int) -> bool:
    """Return whether another server process answers. False: it is no Next, or one that is beyond this."""
    with suppress(*_FAILURES):
        async with asyncio.timeout(SECONDS):
            before = await _execution(session, port)
            if before is None:
                return False
            url = f"http://127.0.0.1:{port}/__nextjs_restart_dev"
            async with asyncio.timeout(ASK_SECONDS), session.post(url, allow_redirects=False) as response:
                if response.status != 204:
                    return False
            await _another(session, port, before)
            await readiness.answered(session, port)
            return True
    return False


async def _another(session: aiohttp.ClientSession, port: int, before: str) -> None:
    while True:
        if await _execution(session, port) not in {None, before}:
            return
        await asyncio.sleep(PAUSE)


async def _execution(session: aiohttp.ClientSession, port: int) -> str | None:
    """The number of the server process; None while there is none that says."""
    with suppress(*_FAILURES, orjson.JSONDecodeError):
        url = f"http://127.0.0.1:{port}/__nextjs_server_status"
        async with asyncio.timeout(ASK_SECONDS), session.get(url, allow_redirects=False) as response:
            said = orjson.loads(await response.content.read(readiness.STATUS_BYTES))
            return str(said["executionId"]) if isinstance(said, dict) and "executionId" in said else None
    return None
