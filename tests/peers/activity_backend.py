"""A backend that takes activity reports, on a real port, and answers what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from agent.backend.session import Session, app_path, fixed, open_session
from agent.config import Secret

KEY = "s3cret-key"
DEADLINE = 10.0

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(body: bytes = b'{"success": true}', status: int = 200, **headers: str) -> Answering:
    """Always this answer. `Retry_After="3"` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **named})

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Promise more than is sent."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"success": ')
    if request.transport is not None:
        request.transport.abort()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


@dataclass
class Report:
    at: float
    body: dict[str, Any]
    headers: dict[str, str]
    size: int


@dataclass
class ActivityBackend:
    """`answers`: taken one by one; the last one stays."""

    session: Session
    url: str = ""
    answers: list[Answering] = field(default_factory=lambda: [says()])
    reports: list[Report] = field(default_factory=list)
    elsewhere: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        now = asyncio.get_running_loop().time()
        self.reports.append(Report(now, orjson.loads(data), dict(request.headers), len(data)))
        self.came.set()
        answering = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answering(request)

    async def off_the_path(self, _: web.Request) -> web.StreamResponse:
        self.elsewhere += 1
        return web.Response(status=404)

    async def has(self, count: int) -> list[Report]:
        """Wait until `count` reports have come."""
        while len(self.reports) < count:
            self.came.clear()
            await self.came.wait()
        return self.reports


@asynccontextmanager
async def activity_backend(*answers: Answering) -> AsyncIterator[ActivityBackend]:
    async with open_session(fixed(Secret(KEY))) as session:
        backend = ActivityBackend(session)
        backend.answers = list(answers) or backend.answers
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/api/vendor/apps/shop/activity", backend.answer)
        app.router.add_route("*", "/{path:.*}", backend.off_the_path)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            backend.url = app_path(f"http://127.0.0.1:{runner.addresses[0][1]}", "shop", "activity")
            yield backend
        finally:
            await runner.cleanup()
