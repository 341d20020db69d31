"""What all connections of the public port share, and who has to be told when the machine goes to sleep.

Most connections end with their answer. A WebSocket or a stream of events lasts for as long as its page, and is
therefore told: those register here, as tasks, and are cancelled to make them say goodbye.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from agent.clock import Clock
from agent.gateway.http.upstream import Upstream
from agent.gateway.pages.event_streams import Logs
from agent.gateway.policy.activity import Activity, Awake, may_keep_awake
from agent.gateway.policy.routing import Request
from agent.gateway.policy.waiting import WaitingRequests, is_rendered
from agent.status_board import StatusBoard

ASLEEP = b"asleep"
PAGES_MOST = 64


class OnActivity(Protocol):
    def __call__(self, kind: Awake | Literal["shown", "input"], source: str, *, attended: bool) -> None: ...


@dataclass(eq=False, slots=True)
class OpenPage:
    """One page of the app with its socket. `tell` writes a message to it."""

    tell: Callable[[bytes], None]
    visible: bool = False


class OpenPages:
    """The pages that are open now."""

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
    def opened(self, tell: Callable[[bytes], None]) -> Iterator[OpenPage]:
        page = OpenPage(tell)
        self._pages.add(page)
        try:
            yield page
        finally:
            self._pages.discard(page)
            self._changed.set()

    async def leave(self, message: bytes, within: float) -> int:
        """Tell every page `message` and wait until all of those have closed, `within` seconds at most; how many."""
        told = set(self._pages)
        for page in told:
            page.tell(message)
        try:
            async with asyncio.timeout(within):
                while told & self._pages:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return len(told)


@dataclass(slots=True)
class Front:
    """`on_activity` gets a kind, its source, and whether a person was there (server.Gateway)."""

    board: StatusBoard
    logs: Logs
    clock: Clock
    upstream: Upstream
    dev_port: int
    on_activity: OnActivity
    began: float
    """When the wait for the very first page began, by the monotonic clock."""
    sockets: int = 0
    pages: OpenPages = field(default_factory=OpenPages)
    leaving: bool = False
    answering: int = 0
    """How many requests that may keep the machine awake have not got their whole answer yet."""
    waiting: WaitingRequests = field(default_factory=WaitingRequests)
    _lasting: set[asyncio.Task[object]] = field(default_factory=set, init=False)

    def waited(self, since: float) -> float:
        """Seconds a person has been waiting: from the machine's start, or from `since` once the app was ready."""
        first = self.board.snapshot.dev_server.ready_at is None
        return self.clock.monotonic() - (self.began if first else since)

    def parting(self) -> bytes:
        """The reason that a socket is closed with now."""
        return ASLEEP if self.leaving or self.board.snapshot.sleeping else b""

    @contextmanager
    def answer(self, request: Request, activity: Activity) -> Iterator[None]:
        """While one request is answered."""
        counts = may_keep_awake(activity)
        self.answering += counts
        waits = self.waiting.began(request.path, self.clock.monotonic()) if is_rendered(request, activity) else None
        end = self.waiting.broke_off
        try:
            yield
            end = partial(self.waiting.answered, now=self.clock.monotonic())
        except asyncio.CancelledError:
            end = self.waiting.left
            raise
        finally:
            self.answering -= counts
            if waits is not None:
                end(waits)

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """What the current task does inside is ended by `dismiss`."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be dismissed")
        self._lasting.add(task)
        try:
            yield
        finally:
            self._lasting.discard(task)

    @property
    def all_lasting(self) -> frozenset[asyncio.Task[object]]:
        """What lasts now."""
        return frozenset(self._lasting)

    async def dismiss(self, those: frozenset[asyncio.Task[object]], within: float) -> None:
        """End those that still last; each task says its goodbye. Waits `within` seconds at most for them."""
        tasks = those & self._lasting
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within)
