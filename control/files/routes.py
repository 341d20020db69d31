"""GET and PUT of an app's files. negotiate.py decides the response; this module waits, reads and sends.

A small answer is generated on the event loop's thread, so that a held request is answered within a millisecond of the
commit. A large one is generated chunk by chunk on another thread, as fast as the client reads, from one read
transaction. Later changes do not affect it and do not wait for it.

What must not live here: SQL, header syntax, the form of an entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Lock

import structlog
from aiohttp import web

from agent.paths import MAX_ANSWER_BYTES, shown
from control.errors import Conflict, NotFound
from control.files import entries
from control.files.feed import Feed
from control.files.negotiate import (
    HEADERS,
    MEDIA,
    VARY,
    Delta,
    FilesRequest,
    Unchanged,
    Whole,
    decide,
    read,
    require,
    tags,
)
from control.files.put_body import parse
from control.storage.head import SetHead
from control.storage.snapshot import WHOLE, StoreSnapshot
from control.storage.store import Store, WriteResult
from control.web import APP, STALL_SECONDS, read_body

log = structlog.get_logger()

SMALL_FILES = 64
"""The most entries of an answer that is generated on the event loop's thread, in about 1 ms."""
SMALL_BYTES = 128 * 1024
"""The most bytes of content of such an answer."""

GZIP_FROM = 2 * 1024
"""Bytes. A shorter body is not compressed, because it fits one or two packets anyway."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

FilesAnswer = Delta | Whole


class Files:
    """`watched`: the app whose files come from a folder (watch.py); a PUT to it is refused. `gzip_near`: compress for
    clients on this machine too.
    """

    def __init__(self, store: Store, feed: Feed, *, watched: str | None = None, gzip_near: bool = False) -> None:
        self._store = store
        self._feed = feed
        self._watched = watched
        self._gzip_near = gzip_near

    def routes(self) -> list[web.RouteDef]:
        return [web.get(APP + "/files", self.get), web.put(APP + "/files", self.put)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer with 200 (the whole set), 226 (a delta) or 304 (no change). If nothing has changed and the client
        asked to wait, the request is held first.
        """
        app_id = request.match_info["app_id"]
        near = request.remote in _LOOPBACK and not self._gzip_near
        wanted = read({name: ", ".join(request.headers.getall(name, ())) for name in HEADERS}, near=near)
        until = self._store.clock.monotonic() + wanted.wait
        while True:
            with self._store.snapshot() as snapshot:
                head = _head(snapshot, app_id)
                answer = decide(wanted, head)
                if not isinstance(answer, Unchanged) and request.method != "HEAD":
                    body = _small_body(snapshot, app_id, wanted, answer)
                    break
            left = until - self._store.clock.monotonic()
            if not isinstance(answer, Unchanged) or not answer.hold or left <= 0 or self._feed.closed:
                return self._bare(wanted, head, answer)
            await self._feed.newer(app_id, head.revision, left)
        if body is None:
            return await self._send_large(request, app_id, wanted)
        headers = _headers(wanted, head, answer, packed=len(body) >= GZIP_FROM and wanted.gzip)
        if "Content-Encoding" in headers:
            body = b"".join(entries.gzipped([body]))
        return web.Response(status=_status(answer), headers=headers, body=body)

    async def put(self, request: web.Request) -> web.Response:
        """Store `{"files": […], "deleted": […]}` as one revision, completely or not at all (put_body.py, store.py)."""
        app_id = request.match_info["app_id"]
        if app_id == self._watched:
            raise Conflict(f"the files of {shown(app_id)!r} come from the folder of --watch: change them there")
        began = time.perf_counter()
        match = tags(", ".join(request.headers.getall("If-Match", ())))
        body = await read_body(request, MAX_ANSWER_BYTES)

        def work() -> WriteResult:
            call = parse(body)
            return self._store.write(app_id, call.files, call.deleted, lambda head: require(match, head))

        written = await self._store.run_in_writer(work)
        head = written.head
        log.info(
            "files.written",
            app=shown(app_id),
            revision=head.revision,
            changed=written.changed,
            deleted=written.deleted,
            ms=round((time.perf_counter() - began) * 1000, 1),
        )
        answer = {
            "success": True,
            "revision": head.revision,
            "etag": head.tag,
            "changed": written.changed,
            "deleted": written.deleted,
        }
        return web.json_response(answer, headers={"ETag": head.tag, "Preview-Revision": str(head.revision)})

    def _bare(self, wanted: FilesRequest, head: SetHead, answer: FilesAnswer | Unchanged) -> web.Response:
        """Return a response without a body: 304, or the response to HEAD. Close the connection if the server stops."""
        response = web.Response(status=_status(answer), headers=_headers(wanted, head, answer, packed=False))
        if self._feed.closed:
            response.force_close()
        return response

    async def _send_large(self, request: web.Request, app_id: str, wanted: FilesRequest) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        body = _LargeBody(self._store, app_id, wanted)
        try:
            head, answer, length = await loop.run_in_executor(None, body.begin)
            response = web.StreamResponse(
                status=_status(answer), headers=_headers(wanted, head, answer, packed=wanted.gzip)
            )
            response.content_length = length
            await response.prepare(request)
            while (chunk := await loop.run_in_executor(None, body.chunk)) is not None:
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(chunk)
            await response.write_eof()
        except TimeoutError:
            log.warning("files.client_stalled", app=shown(app_id), seconds=STALL_SECONDS)
            if request.transport is not None:
                request.transport.abort()  # the answer is incomplete, and a clean close would wait for the client
            raise ConnectionResetError("the client stopped reading") from None
        else:
            return response
        finally:
            await loop.run_in_executor(None, body.end)


class _LargeBody:
    """Generates the body of a large answer. Its methods run on any thread, one at a time: a cancellation may call `end`
    while another thread still generates a chunk.
    """

    def __init__(self, store: Store, app_id: str, wanted: FilesRequest) -> None:
        self._store = store
        self._app_id = app_id
        self._wanted = wanted
        self._open = ExitStack()
        self._lock = Lock()
        self._chunks: Iterator[bytes] = iter(())

    def begin(self) -> tuple[SetHead, FilesAnswer, int | None]:
        """Start the read transaction and decide again in it. Return the length of the body too if it is known: a JSON
        object is generated completely first, because it may be larger than the contract allows.
        """
        with self._lock:
            snapshot = self._open.enter_context(self._store.long_snapshot())
            head = _head(snapshot, self._app_id)
            answer = decide(self._wanted, head)
            if isinstance(answer, Unchanged):  # the client's tag became the current one since the first decision
                answer = Whole()
            chunks = entries.in_chunks(_pieces(snapshot, self._app_id, self._wanted, answer))
            chunks = entries.gzipped(chunks) if self._wanted.gzip else chunks
            length = None
            if self._wanted.form == "json":
                made = list(chunks)
                length = sum(map(len, made))
                chunks = iter(made)
            self._chunks = (chunk for chunk in chunks if chunk)
            return head, answer, length

    def chunk(self) -> bytes | None:
        with self._lock:
            return next(self._chunks, None)

    def end(self) -> None:
        with self._lock:
            self._chunks = iter(())
            self._open.close()


def _head(snapshot: StoreSnapshot, app_id: str) -> SetHead:
    head = snapshot.head(app_id)
    if head is None:
        raise NotFound(f"there is no app {shown(app_id)!r}")
    return head


def _small_body(snapshot: StoreSnapshot, app_id: str, wanted: FilesRequest, answer: FilesAnswer) -> bytes | None:
    base = answer.base if isinstance(answer, Delta) else WHOLE
    if not snapshot.is_small(app_id, base, files=SMALL_FILES, size=SMALL_BYTES):
        return None
    return b"".join(_pieces(snapshot, app_id, wanted, answer))


def _pieces(snapshot: StoreSnapshot, app_id: str, wanted: FilesRequest, answer: FilesAnswer) -> Iterator[bytes]:
    if isinstance(answer, Delta):
        rows, deleted = snapshot.rows(app_id, answer.base), snapshot.deleted(app_id, answer.base)
        return entries.as_lines(rows, deleted) if wanted.form == "ndjson" else entries.as_object(rows, deleted)
    rows = snapshot.rows(app_id, WHOLE)
    return entries.as_lines(rows, ()) if wanted.form == "ndjson" else entries.as_object(rows, None)


def _status(answer: FilesAnswer | Unchanged) -> int:
    return {Delta: 226, Whole: 200, Unchanged: 304}[type(answer)]


def _headers(wanted: FilesRequest, head: SetHead, answer: FilesAnswer | Unchanged, *, packed: bool) -> dict[str, str]:
    headers = {"ETag": head.tag, "Vary": VARY, "Cache-Control": "private, no-cache"}
    if wanted.wait:
        headers["Preference-Applied"] = f"wait={wanted.wait}"
    if isinstance(answer, Unchanged):
        return headers
    headers |= {"Preview-Revision": str(head.revision), "Content-Type": MEDIA[wanted.form]}
    if packed:
        headers["Content-Encoding"] = "gzip"
    if isinstance(answer, Delta):
        headers |= {"IM": "files-delta", "Delta-Base": answer.tag}
    return headers
