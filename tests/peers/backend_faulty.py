"""A backend that goes wrong in a chosen way, answer by answer, and is honest once its script is over.

A fault is told the request and the honest backend behind it. Those that need more than a status and a body write to the
connection themselves: the point of each is what a real socket carries.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from tests.peers.backend_honest import EVERYTHING, FILES, Extras, HonestBackend, lines

Fault = Callable[[web.Request, "FaultyBackend"], Awaitable[web.StreamResponse]]


class FaultyBackend(HonestBackend):
    """`script`: the faults to come, for requests for the set. `always`: the fault for all of them, while it is set.
    `blob_faults`: the same for blobs.
    """

    def __init__(self, *script: Fault, extras: Extras = EVERYTHING) -> None:
        super().__init__(extras)
        self.script: deque[Fault] = deque(script)
        self.blob_faults: deque[Fault] = deque()
        self.always: Fault | None = None

    async def _respond(self, request: web.Request, place: int) -> web.StreamResponse:
        queue = self.script if request.path == FILES else self.blob_faults
        fault = self.always if request.path == FILES and self.always else queue.popleft() if queue else None
        if fault is None:
            return await super()._respond(request, place)
        return await fault(request, self)

    async def honest(self, request: web.Request) -> web.StreamResponse:
        return await super()._respond(request, 0)


def says(status: int, body: bytes | str = b"", **headers: str) -> Fault:
    """A status and a body; `Retry_After="3"` is the header Retry-After."""

    async def fault(_: web.Request, __: FaultyBackend) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return fault


def answers(answer: object, *, status: int = 200, **headers: str) -> Fault:
    """A JSON body."""
    return says(status, orjson.dumps(answer), Content_Type="application/json", **headers)


def streams(body: bytes, *, status: int = 200, **headers: str) -> Fault:
    """A body that says it is a stream of lines."""
    return says(status, body, Content_Type="application/x-ndjson", **headers)


def cut_off(*, after: int, chunked: bool) -> Fault:
    """The honest answer, whose connection ends in the middle of the body."""

    async def fault(request: web.Request, backend: FaultyBackend) -> web.StreamResponse:
        whole = await backend.honest(request)
        assert isinstance(whole, web.Response)
        assert isinstance(whole.body, bytes)
        response = web.StreamResponse(status=whole.status, headers=_without_length(whole.headers))
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(whole.body)
        await response.prepare(request)
        await response.write(whole.body[:after])
        if request.transport is not None:
            request.transport.close()
        return response

    return fault


def drips(body: bytes, pause: float) -> Fault:
    """One byte after the other, without an end of its own."""

    async def fault(request: web.Request, _: FaultyBackend) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(pause)
        return response

    return fault


def changes_its_tag() -> Fault:
    """The honest set with a tag that was never there before; says that it held the request, and did not."""
    count = 0

    async def fault(request: web.Request, backend: FaultyBackend) -> web.StreamResponse:
        nonlocal count
        count += 1
        entries = [backend.entry(path, data) for path, data in sorted(backend.files.items())]
        headers = {
            "ETag": f'"never-{count}"',
            "Preference-Applied": request.headers.get("Prefer", ""),
            "Content-Type": "application/x-ndjson",
        }
        return web.Response(body=lines(entries), headers=headers)

    return fault


def pretends_to_hold() -> Fault:
    """304 at once to whoever names the right tag, with the word that the request was held."""

    async def fault(request: web.Request, backend: FaultyBackend) -> web.StreamResponse:
        if request.headers.get("If-None-Match") != backend.tag:
            return await backend.honest(request)
        headers = {"ETag": backend.tag, "Preference-Applied": request.headers.get("Prefer", "")}
        return web.Response(status=304, headers=headers)

    return fault


def bomb(size: int) -> Fault:
    """A small body that unpacks to `size` bytes."""
    return says(200, gzip.compress(b" " * size, 9), Content_Encoding="gzip", Content_Type="application/json")


def hangs_up() -> Fault:
    """The connection ends before a head came."""

    async def fault(request: web.Request, _: FaultyBackend) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    return fault


def sends(raw: bytes) -> Fault:
    """These bytes on the connection, head and all, and then its end."""

    async def fault(request: web.Request, _: FaultyBackend) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.write(raw)
            request.transport.close()
        return web.Response()

    return fault


def _without_length(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Content-Length"}
