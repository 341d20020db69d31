"""GET of one file's bytes by their hash (contract, section 3, "Blobs").

An address names its bytes, so they never change under it: they may be kept for ever, and asked for in parts. A hash
that no file of the current set has is 404: the set has moved on, and the next answer of the files says to what.
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
"""Up to this many bytes are read on the loop's own thread."""


def requested(header: str | None, size: int) -> tuple[int, int] | None:
    """(first, length) that a Range header asks for of `size` bytes; None: all of them. Pure.

    RFC 9110: another unit, several ranges and what is no range are ignored; a range without a single byte is BadRange.
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
            raise NotFound("a blob's address ends in a sha256, 64 hex digits")
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
        """The hash is looked up again in the moment that is read: what was found before may be gone."""

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
            raise NotFound(f"no file of the current set has the hash {sha256} any more")
        return data
