"""A backend that keeps the contract, in memory, on a real socket; told which of the extras it offers.

With no extra it is the plain form as a backend over a table of files serves it: every column of a row, `content_hash`
null, no ETag, and no word about holding requests. What it was asked and what it sent is kept in `seen`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

import orjson
from aiohttp import web

KEY = "key-of-demo"
FILES = "/api/vendor/apps/demo/files"
INLINE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Extras:
    etag: bool = False
    wait: bool = False
    delta: bool = False
    stream: bool = False
    blobs: bool = False
    gzip: bool = False
    revisions: bool = False
    hashes: bool = False


PLAIN = Extras()
EVERYTHING = Extras(**{field.name: True for field in fields(Extras)})


@dataclass(slots=True)
class Seen:
    """One request and its answer. `body`: bytes on the wire, without the head."""

    path: str
    headers: Mapping[str, str]
    status: int = 0
    body: int = 0


class HonestBackend:
    def __init__(self, extras: Extras = EVERYTHING) -> None:
        self.extras = extras
        self.files: dict[str, bytes] = {}
        self.revision = 0
        self.url = ""
        self.seen: list[Seen] = []
        self.waiting = 0
        self._past: dict[str, dict[str, bytes]] = {}
        self._changed = asyncio.Event()
        self._asked = asyncio.Event()
        self._ending = False

    @property
    def tag(self) -> str:
        return f'"set-{self.revision}"'

    def put(self, files: Mapping[str, bytes | str] | None = None, deleted: tuple[str, ...] = ()) -> None:
        """Change files as one revision, and wake whoever is held."""
        self._past[self.tag] = dict(self.files)
        for path, content in (files or {}).items():
            self.files[path] = content.encode() if isinstance(content, str) else content
        for path in deleted:
            del self.files[path]
        self.revision += 1
        self._wake()

    def end(self) -> None:
        """Answer whoever is held, and hold nobody any more."""
        self._ending = True
        self._wake()

    async def asked(self, times: int) -> None:
        """Wait until so many requests for the set have come in all."""
        while sum(seen.path == FILES for seen in self.seen) < times:
            await self._asked.wait()

    def answers(self) -> list[int]:
        """The status of each request for the set."""
        return [seen.status for seen in self.seen if seen.path == FILES]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.path, request.headers.copy())
        self.seen.append(seen)
        self._asked.set()
        self._asked = asyncio.Event()
        response = await self._respond(request, len(self.seen) - 1)
        seen.status = response.status
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            seen.body = len(response.body)
        return response

    async def _respond(self, request: web.Request, place: int) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"success": False, "error": "no such key"}, status=401)
        if request.path.startswith(f"{FILES}/blobs/"):
            return self._blob(request.path.rpartition("/")[2])
        return await self._set(request)

    async def _set(self, request: web.Request) -> web.Response:
        offers = self.extras
        headers: dict[str, str] = {}
        named = request.headers.get("If-None-Match") if offers.etag else None
        wanted_wait = request.headers.get("Prefer", "")
        if offers.wait and named and wanted_wait.startswith("wait="):
            headers["Preference-Applied"] = wanted_wait
            await self._hold(named, float(wanted_wait.removeprefix("wait=")))
        if offers.etag:
            headers["ETag"] = self.tag
            if named == self.tag:
                return web.Response(status=304, headers=headers)
        if offers.revisions:
            headers["Preview-Revision"] = str(self.revision)
        base = self._past.get(named or "")
        if base is not None and offers.delta and "files-delta" in request.headers.get("A-IM", ""):
            changed = {path: data for path, data in self.files.items() if base.get(path) != data}
            gone = sorted(base.keys() - self.files.keys())
            headers |= {"IM": "files-delta", "Delta-Base": str(named)}
            return self._body(request, 226, headers, changed, gone)
        return self._body(request, 200, headers, self.files, None)

    async def _hold(self, named: str, seconds: float) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                while named == self.tag and not self._ending:
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1

    def _body(
        self,
        request: web.Request,
        status: int,
        headers: dict[str, str],
        files: Mapping[str, bytes],
        gone: list[str] | None,
    ) -> web.Response:
        entries = [self.entry(path, data) for path, data in sorted(files.items())]
        if self.extras.stream and "application/x-ndjson" in request.headers.get("Accept", ""):
            headers["Content-Type"] = "application/x-ndjson"
            body = lines(entries + [{"filepath": path, "deleted": True} for path in gone or ()])
        else:
            headers["Content-Type"] = "application/json"
            answer: dict[str, Any] = {"success": True, "files": entries}
            body = orjson.dumps(answer if gone is None else answer | {"deleted": gone})
        if self.extras.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        return web.Response(status=status, headers=headers, body=body)

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": len(path),
            "app_id": "demo",
            "filepath": path,
            "content_hash": hashlib.sha256(data).hexdigest() if self.extras.hashes else None,
            "file_type": path.rpartition(".")[2],
            "created_at": "2026-11-22T10:00:00Z",
            "updated_at": "2026-11-22T10:00:00Z",
        }
        text = _text(data)
        if self.extras.blobs and (text is None or len(data) > INLINE_BYTES):
            return row | {"content_hash": hashlib.sha256(data).hexdigest(), "size": len(data)}
        if text is None:
            return row | {"content": base64.b64encode(data).decode(), "encoding": "base64"}
        return row | {"content": text}

    def _blob(self, sha256: str) -> web.Response:
        for data in self.files.values():
            if hashlib.sha256(data).hexdigest() == sha256:
                return web.Response(body=data, headers={"Cache-Control": "immutable"})
        return web.json_response({"success": False, "error": "no such blob"}, status=404)


def lines(entries: list[dict[str, Any]], *, end: bool = True, count: int | None = None) -> bytes:
    """Entries as a stream; without `end` it is cut off, and `count` may lie."""
    last = [{"end": True, "count": len(entries) if count is None else count}] if end else []
    return b"".join(orjson.dumps(entry) + b"\n" for entry in [*entries, *last])


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


@asynccontextmanager
async def serving(backend: HonestBackend, port: int = 0) -> AsyncIterator[HonestBackend]:
    """`backend` on a socket of 127.0.0.1; its `url` says which."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", backend.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        backend.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield backend
    finally:
        backend.end()
        await runner.cleanup()
