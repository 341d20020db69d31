"""A backend of the plain form and nothing more: every column of its rows, no ETag, no hashes, always the whole set."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from agent.clock import rfc3339
from tests.peers.stack import APP, KEY

Fault = Literal["500", "429", "empty", "cut off", "html"]


class PlainBackend:
    """`put` is one change. While `fault` is set it answers that way instead."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fault: Fault | None = None
        self._rows: dict[str, dict[str, Any]] = {}

    async def put(self, files: Mapping[str, str | bytes], deleted: tuple[str, ...] = ()) -> int:
        for path, content in files.items():
            text = content if isinstance(content, str) else base64.b64encode(content).decode()
            row = {
                "id": hashlib.md5(path.encode()).hexdigest(),
                "app_id": APP,
                "filepath": path,
                "content": text,
                "content_hash": None,
                "file_type": path.rpartition(".")[2],
                "created_at": rfc3339(0),
                "updated_at": rfc3339(0),
            }
            self._rows[path] = row if isinstance(content, str) else row | {"encoding": "base64"}
        for path in deleted:
            self._rows.pop(path, None)
        return 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"success": False, "error": "unknown key"}, status=401)
        if self.fault is not None:
            return await self._misbehave(request, self.fault)
        return web.json_response({"success": True, "files": list(self._rows.values())})

    async def _misbehave(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        match fault:
            case "500":
                return web.json_response({"success": False, "error": "out of order"}, status=500)
            case "429":
                return web.json_response({"success": False}, status=429, headers={"Retry-After": "1"})
            case "empty":  # what row-level security says to a key that lost its rights
                return web.json_response({"success": True, "files": []})
            case "html":
                return web.Response(text="<!doctype html><h1>Log in</h1>", content_type="text/html")
            case "cut off":
                cut = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "5000"})
                await cut.prepare(request)
                await cut.write(b'{"success": true, "files": [')
                if request.transport is not None:
                    request.transport.abort()
                return cut


@asynccontextmanager
async def plain_backend(_: Path, port: int) -> AsyncIterator[PlainBackend]:
    backend = PlainBackend(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_get(f"/api/vendor/apps/{APP}/files", backend.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield backend
    finally:
        await runner.cleanup()
