"""Sends responses without an end: /events and /logs?follow=1.

A stream ends when its client disconnects (its handler is cancelled), when the agent stops (`close`; the client sees a
complete body), or when its client has read nothing for WRITE_SECONDS. Nothing is queued here: a slow client costs its
socket's buffer and one chunk, and misses what it is too slow for.

What must not live here: the content of a stream (events.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

log = structlog.get_logger()

WRITE_SECONDS = 10.0
MAX_STREAMS = 64


class Streams:
    """The open streams of one server."""

    def __init__(self, *, write_seconds: float = WRITE_SECONDS, limit: int = MAX_STREAMS) -> None:
        self._write_seconds = write_seconds
        self._limit = limit
        self._open: set[asyncio.Timeout] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def refusal(self) -> str | None:
        """Why no further stream can be opened now, or None."""
        if self._closed:
            return "the agent is stopping"
        if len(self._open) >= self._limit:
            return f"{self._limit} streams are open, which is the limit"
        return None

    async def send(
        self, request: BaseRequest, response: StreamResponse, chunks: AsyncGenerator[bytes]
    ) -> StreamResponse:
        """Send `chunks` as they are yielded. Closes `chunks` in any case."""
        scope = asyncio.timeout(None)
        self._open.add(scope)
        try:
            async with scope, aclosing(chunks):
                await response.prepare(request)
                async for chunk in chunks:
                    async with asyncio.timeout(self._write_seconds):
                        await response.write(chunk)
        except TimeoutError:
            if not scope.expired():
                log.info("admin.slow_client_dropped", path=request.path)
                _abort(request)
        except ConnectionError:
            _abort(request)
        finally:
            self._open.discard(scope)
        return response

    def close(self) -> None:
        """End all streams and refuse new ones. Idempotent."""
        self._closed = True
        for scope in self._open:
            if not scope.expired():
                scope.reschedule(0.0)  # a deadline in the past: at once


def _abort(request: BaseRequest) -> None:
    """Close a connection that no longer accepts data, and discard its buffer."""
    if request.transport is not None:
        request.transport.abort()
