"""State that all connections of the public port share, and the long-lived connections that end when the machine sleeps.

Most connections end with their response. A WebSocket or an event stream lasts as long as its page, so its task is
registered here and is cancelled to make it send its closing message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from agent.clock import Clock
from agent.gateway.http.forwarded_headers import ForwardContext
from agent.gateway.http.upstream import Upstream
from agent.gateway.pages.event_streams import OutputLog
from agent.gateway.policy.activity import Activity, Awake, may_keep_awake
from agent.gateway.policy.request import Request
from agent.gateway.policy.waiting import WaitingRequests, is_app_code
from agent.status_board import StatusBoard

ASLEEP = b"asleep"
PAGES_MOST = 64


class OnActivity(Protocol):
    """`kind` and `source` say what happened; `attended`, whether there is evidence of a person (server.Gateway)."""

    def __call__(self, kind: Awake | Literal["shown", "input"], source: str, *, attended: bool) -> None: ...


@dataclass(eq=False, slots=True)
class OpenPage:
    """One open page of the app."""

    send: Callable[[bytes], None]
    """Sends a message over the page's socket."""
    visible: bool = False


class OpenPages:
    """The app's pages that are open now."""

    def __init__(self) -> None:
        self._pages: set[OpenPage] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def full(self) -> bool:
        return len(self._pages) >= PAGES_MOST

    @property
    def visible(self) -> int:
        return sum(page.visible for page in self._pages)

    @contextmanager
    def opened(self, send: Callable[[bytes], None]) -> Iterator[OpenPage]:
        page = OpenPage(send)
        self._pages.add(page)
        try:
            yield page
        finally:
            self._pages.discard(page)
            self._changed.set()

    async def send_and_wait_closed(self, message: bytes, within: float) -> int:
        """Send `message` to every page, and wait at most `within` seconds until those have closed; their number."""
        pages = set(self._pages)
        for page in pages:
            page.send(message)
        try:
            async with asyncio.timeout(within):
                while pages & self._pages:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return len(pages)


@dataclass(slots=True)
class SharedState:
    board: StatusBoard
    logs: OutputLog
    clock: Clock
    upstream: Upstream
    dev_port: int
    on_activity: OnActivity
    began: float
    """When the wait for the very first page began, by the monotonic clock."""
    sockets: int = 0
    """Open WebSockets to the dev server."""
    pages: OpenPages = field(default_factory=OpenPages)
    closing_pages: bool = False
    """The pages are being put to sleep, so sockets are closed with the reason `asleep`."""
    answering: int = 0
    """How many requests that may keep the machine awake have not got their whole response yet."""
    waiting: WaitingRequests = field(default_factory=WaitingRequests)
    _long_lived: set[asyncio.Task[object]] = field(default_factory=set, init=False)

    def seconds_waited(self, since: float) -> float:
        """Seconds that a person has waited: since the machine's start, or since `since` once the app has been ready."""
        first = self.board.snapshot.dev_server.ready_at is None
        return self.clock.monotonic() - (self.began if first else since)

    def close_reason(self) -> bytes:
        """The reason in the close frame of a socket that the gateway ends now."""
        return ASLEEP if self.closing_pages or self.board.snapshot.sleeping else b""

    def forward_context(self, request: Request, peer: str, *, uncompressed: bool = False) -> ForwardContext:
        """How the header fields of `request` are changed on their way to the dev server."""
        dev = self.board.snapshot.dev_server
        return ForwardContext(
            peer,
            internal=request.internal,
            upgrade=request.upgrade,
            uncompressed=uncompressed,
            dev_host=b"localhost:%d" % self.dev_port if dev.checks_host else None,
            compares_origin=dev.checks_origin,
        )

    @contextmanager
    def in_progress(self, request: Request, activity: Activity) -> Iterator[None]:
        """Count one request for the duration of the block."""
        counts = may_keep_awake(activity)
        self.answering += counts
        waiting = self.waiting.add(request.path, self.clock.monotonic()) if is_app_code(request, activity) else None
        end = self.waiting.removed
        try:
            yield
            end = partial(self.waiting.answered, now=self.clock.monotonic())
        except asyncio.CancelledError:
            end = self.waiting.abandoned
            raise
        finally:
            self.answering -= counts
            if waiting is not None:
                end(waiting)

    @contextmanager
    def long_lived(self) -> Iterator[None]:
        """Register the current task for `cancel_long_lived` for the duration of the block."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be registered")
        self._long_lived.add(task)
        try:
            yield
        finally:
            self._long_lived.discard(task)

    @property
    def long_lived_tasks(self) -> frozenset[asyncio.Task[object]]:
        return frozenset(self._long_lived)

    async def cancel_long_lived(self, tasks: frozenset[asyncio.Task[object]], within: float) -> None:
        """Cancel those of `tasks` that still run, and wait at most `within` seconds for their closing messages."""
        running = tasks & self._long_lived
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=within)
