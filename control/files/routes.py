"""GET and PUT of an app's files: the decisions of negotiate.py, carried out.

A small answer is made at once on the loop's thread: a waiting agent has it within a millisecond of the commit. A large
one is made chunk by chunk in another thread, from one moment of the database that it holds for as long as it is
sent; the client's own pace sets how far ahead it is made. No change tears it, and no change waits for it.

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
    Ask,
    Delta,
    Unchanged,
    Whole,
    decide,
    read,
    require,
    tags,
)
from control.files.put_body import parse
from control.storage.head import Head
from control.storage.snapshot import WHOLE, Snapshot
from control.storage.store import Store, Written
from control.web import APP, STALL_SECONDS, read_body

log = structlog.get_logger()

SMALL_FILES = 64
SMALL_BYTES = 128 * 1024
"""What is answered on the loop's own thread: at most this many entries and bytes of content, about 1 ms."""

GZIP_FROM = 2 * 1024
"""A shorter body is sent as it is: it fits a packet or two anyway."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

Answer = Delta | Whole


class Files:
    """`watched`: the app that a folder feeds (watch.py), if any; its files are changed there and nowhere else.
    `gzip_near`: compress for a client on this machine too.
    """

    def __init__(self, store: Store, feed: Feed, *, watched: str | None = None, gzip_near: bool = False) -> None:
        self._store = store
        self._feed = feed
        self._watched = watched
        self._gzip_near = gzip_near

    def routes(self) -> list[web.RouteDef]:
        return [web.get(APP + "/files", self.get), web.put(APP + "/files", self.put)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """200, 226 or 304, after as much waiting as was asked for and makes sense."""
        app_id = request.match_info["app_id"]
        near = request.remote in _LOOPBACK and not self._gzip_near
        ask = read({name: ", ".join(request.headers.getall(name, ())) for name in HEADERS}, near=near)
        until = self._store.clock.monotonic() + ask.wait
        while True:
            with self._store.snapshot() as snapshot:
                head = _head(snapshot, app_id)
                answer = decide(ask, head)
                if not isinstance(answer, Unchanged) and request.method != "HEAD":
                    body = _small_body(snapshot, app_id, ask, answer)
                    break
            left = until - self._store.clock.monotonic()
            if not isinstance(answer, Unchanged) or not answer.hold or left <= 0 or self._feed.closed:
                return self._bare(ask, head, answer)
            await self._feed.newer(app_id, head.revision, left)
        if body is None:
            return await self._send_large(request, app_id, ask)
        headers = _headers(ask, head, answer, packed=len(body) >= GZIP_FROM and ask.gzip)
        if "Content-Encoding" in headers:
            body = b"".join(entries.gzipped([body]))
        return web.Response(status=_status(answer), headers=headers, body=body)

    async def put(self, request: web.Request) -> web.Response:
        """One call, one revision: `{"files": […], "deleted": […]}`, all or nothing (body.py, store.py)."""
        app_id = request.match_info["app_id"]
        if app_id == self._watched:
            raise Conflict(f"the files of {shown(app_id)!r} come from the folder given with --watch: change them there")
        began = time.perf_counter()
        match = tags(", ".join(request.headers.getall("If-Match", ())))
        body = await read_body(request, MAX_ANSWER_BYTES)

        def work() -> Written:
            call = parse(body)
            return self._store.write(app_id, call.files, call.deleted, lambda head: require(match, head))

        written = await self._store.in_turn(work)
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

    def _bare(self, ask: Ask, head: Head, answer: Answer | Unchanged) -> web.Response:
        """An answer without a body: 304, or what a HEAD asks for. A server that stops gives the connection up too."""
        response = web.Response(status=_status(answer), headers=_headers(ask, head, answer, packed=False))
        if self._feed.closed:
            response.force_close()
        return response

    async def _send_large(self, request: web.Request, app_id: str, ask: Ask) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        making = _Making(self._store, app_id, ask)
        try:
            head, answer, length = await loop.run_in_executor(None, making.begin)
            response = web.StreamResponse(status=_status(answer), headers=_headers(ask, head, answer, packed=ask.gzip))
            response.content_length = length
            await response.prepare(request)
            while (chunk := await loop.run_in_executor(None, making.chunk)) is not None:
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(chunk)
            await response.write_eof()
        except TimeoutError:
            log.warning("files.client_stalled", app=shown(app_id), seconds=STALL_SECONDS)
            if request.transport is not None:
                request.transport.abort()  # what was sent has no end; a clean close would have to wait for the client
            raise ConnectionResetError("the client stopped reading") from None
        else:
            return response
        finally:
            await loop.run_in_executor(None, making.end)


class _Making:
    """A large answer in the making. Its methods run in whichever thread has time, one after the other; `end` too, which
    a cancellation may ask for while a chunk is still being made.
    """

    def __init__(self, store: Store, app_id: str, ask: Ask) -> None:
        self._store = store
        self._app_id = app_id
        self._ask = ask
        self._open = ExitStack()
        self._turn = Lock()
        self._chunks: Iterator[bytes] = iter(())

    def begin(self) -> tuple[Head, Answer, int | None]:
        """Fix the moment and decide again for it. Returns the body's length too, where it has to be known: one JSON
        object is made whole first, because it may turn out to be larger than the contract allows.
        """
        with self._turn:
            snapshot = self._open.enter_context(self._store.long_snapshot())
            head = _head(snapshot, self._app_id)
            answer = decide(self._ask, head)
            if isinstance(answer, Unchanged):  # a tag from the future has come true since the first look
                answer = Whole()
            chunks = entries.in_chunks(_pieces(snapshot, self._app_id, self._ask, answer))
            chunks = entries.gzipped(chunks) if self._ask.gzip else chunks
            length = None
            if self._ask.form == "json":
                made = list(chunks)
                length = sum(map(len, made))
                chunks = iter(made)
            self._chunks = (chunk for chunk in chunks if chunk)
            return head, answer, length

    def chunk(self) -> bytes | None:
        with self._turn:
            return next(self._chunks, None)

    def end(self) -> None:
        with self._turn:
            self._chunks = iter(())
            self._open.close()


def _head(snapshot: Snapshot, app_id: str) -> Head:
    head = snapshot.head(app_id)
    if head is None:
        raise NotFound(f"there is no app {shown(app_id)!r}")
    return head


def _small_body(snapshot: Snapshot, app_id: str, ask: Ask, answer: Answer) -> bytes | None:
    base = answer.base if isinstance(answer, Delta) else WHOLE
    if not snapshot.is_small(app_id, base, files=SMALL_FILES, size=SMALL_BYTES):
        return None
    return b"".join(_pieces(snapshot, app_id, ask, answer))


def _pieces(snapshot: Snapshot, app_id: str, ask: Ask, answer: Answer) -> Iterator[bytes]:
    if isinstance(answer, Delta):
        rows, deleted = snapshot.rows(app_id, answer.base), snapshot.deleted(app_id, answer.base)
        return entries.as_lines(rows, deleted) if ask.form == "ndjson" else entries.as_object(rows, deleted)
    rows = snapshot.rows(app_id, WHOLE)
    return entries.as_lines(rows, ()) if ask.form == "ndjson" else entries.as_object(rows, None)


def _status(answer: Answer | Unchanged) -> int:
    return {Delta: 226, Whole: 200, Unchanged: 304}[type(answer)]


def _headers(ask: Ask, head: Head, answer: Answer | Unchanged, *, packed: bool) -> dict[str, str]:
    headers = {"ETag": head.tag, "Vary": VARY, "Cache-Control": "private, no-cache"}
    if ask.wait:
        headers["Preference-Applied"] = f"wait={ask.wait}"
    if isinstance(answer, Unchanged):
        return headers
    headers |= {"Preview-Revision": str(head.revision), "Content-Type": MEDIA[ask.form]}
    if packed:
        headers["Content-Encoding"] = "gzip"
    if isinstance(answer, Delta):
        headers |= {"IM": "files-delta", "Delta-Base": answer.tag}
    return headers
