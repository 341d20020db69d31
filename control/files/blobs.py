"""Serves the bytes of one file by their hash (contract, section 3, "Blobs").

The URL contains the hash, so its bytes never change: clients may cache them without limit and request ranges. A hash
that no file of the current set has is a 404; the client learns the new set from its next request for the files.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from control.errors import BadRange, NotFound
from control.files.negotiate import tags
from control.storage.store import Store
from control.web import APP

INLINE_READ = 256 * 1024
"""Up to this many bytes are read on the event loop's thread."""


def requested(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (first, length) of the requested range in `size` bytes, or None for all of them. Pure.

    RFC 9110: other units, several ranges and malformed ranges are ignored; an empty range is a BadRange.
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,15})-([0-9]{0,15})\s*", header or "", re.IGNORECASE)
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size:
        raise BadRange(f"there are {size:,} bytes", {"Content-Range": f"bytes */{size}"})
    return first, last - first + 1


class Blobs:
    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        return [web.get(APP + "/files/blobs/{sha256}", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        app_id, sha256 = request.match_info["app_id"], request.match_info["sha256"].lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise NotFound("the path of a blob ends in a sha256 of 64 hex digits")
        with self._store.snapshot() as snapshot:
            found = snapshot.blob(app_id, sha256)
        if found is None:
            raise NotFound(f"no file of the current set has the hash {sha256}")
        tag = f'"{sha256}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "private, max-age=31536000, immutable",
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
        }
        known = tags(request.headers.get("If-None-Match")) or ()
        if "*" in known or tag in known or f"W/{tag}" in known:
            return web.Response(status=304, headers=headers)
        size = found[1]
        part = None
        if request.method == "GET" and request.headers.get("If-Range", tag) == tag:
            part = requested(request.headers.get("Range"), size)
        if part is not None:
            headers["Content-Range"] = f"bytes {part[0]}-{sum(part) - 1}/{size}"
        body = await self._read(app_id, sha256, *(part or (0, size)))
        return web.Response(status=200 if part is None else 206, headers=headers, body=body)

    async def _read(self, app_id: str, sha256: str, first: int, length: int) -> bytes:
        """Look the hash up again in the transaction that reads it, because the file may have been deleted since."""

        def read_aside() -> bytes | None:
            with self._store.long_snapshot() as snapshot:
                found = snapshot.blob(app_id, sha256)
                return found and snapshot.bytes_of(found[0], first, length)

        if length <= INLINE_READ:
            with self._store.snapshot() as snapshot:
                found = snapshot.blob(app_id, sha256)
                data = found and snapshot.bytes_of(found[0], first, length)
        else:
            data = await asyncio.get_running_loop().run_in_executor(None, read_aside)
        if data is None:
            raise NotFound(f"no file of the current set has the hash {sha256}")
        return data
