"""What Next's dev server is to a browser, and no more: pages, a socket for hot reload that stays open, 404s.

Pages that a test writes by hand load in milliseconds, and show what the gateway's script does without React.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web


class SmallApp:
    def __init__(self, pages: Mapping[str, str]) -> None:
        self.pages = dict(pages)
        self.headers: dict[str, str] = {}
        """Sent with every page."""
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for _ in socket:
                pass
            return socket
        page = self.pages.get(request.path)
        if page is None:
            return web.Response(status=404, text="not here")
        return web.Response(text=page, content_type="text/html", headers=self.headers)


@asynccontextmanager
async def small_app(pages: Mapping[str, str]) -> AsyncIterator[SmallApp]:
    app = SmallApp(pages)
    application = web.Application()
    application.router.add_get("/{path:.*}", app.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app.port = runner.addresses[0][1]
    try:
        yield app
    finally:
        await runner.cleanup()
