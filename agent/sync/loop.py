"""The long-lived loop: ask the backend, take the answer in, plan, make it true, say so; again.

It does what pace.py, plan.py and exchange.py decide. A failure leaves the disk as it is, is published, and is followed
by the next try; only a defect of this program ends the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog

from agent.clock import Clock, rfc3339
from agent.errors import AgentError, BackendError, BadAnswer, DiskError, Unreachable
from agent.install_hooks import NoPackages, Packages
from agent.paths import shown
from agent.status import Applied, Problem, SyncFacts
from agent.sync.deleted_folders import DeletedFolders
from agent.sync.disk.disk_thread import DiskThread
from agent.sync.disk.store import Disk, Outcome
from agent.sync.plan import Folder, Operation, Put, Remove, Said, halves, hold, plan
from agent.sync.poll_policy import Pace, poll_pause
from agent.sync.protocol.client import Answer, Backend
from agent.sync.protocol.exchange import Ask, Head
from agent.sync.protocol.receive import Reception
from agent.sync.reporting import Ledger

T = TypeVar("T")
News = Literal["news", "nothing", "held back", "made room"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: the pause between polls, and how long to ask the backend to hold a request."""

    poll_interval: float
    long_poll_wait: float


class Sync:
    """Keeps one app's workspace equal to what the backend says. `open`, then `run` until cancelled, then `close`."""

    def __init__(
        self,
        *,
        backend: Backend,
        disk: Disk,
        timing: Timing,
        clock: Clock,
        publish: Callable[[SyncFacts], None],
        problems: Callable[[tuple[Problem, ...]], None],
        on_applied: Callable[[Applied], None],
        packages: Packages | None = None,
        on_full: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`on_full` is told of each try that found no room on the disk, with the error's words."""
        self._backend = backend
        self._disk = disk
        self._timing = timing
        self._clock = clock
        self._on_applied = on_applied
        self._packages = packages or NoPackages()
        self._on_full = on_full
        self._thread = DiskThread()
        self._ledger = Ledger(clock, publish, problems)
        self._deleted_folders = DeletedFolders()
        self._pace = Pace()
        self._said: Said | None = None
        self._stale: frozenset[str] = frozenset()
        self._found_last: frozenset[str] = frozenset()
        self._same_body: bytes | None = None
        self._untold = Outcome()
        self._told_first = False
        self._now_wanted = False
        self._closed = False
        self._patience: asyncio.Timeout | None = None

    async def open(self) -> None:
        """Make the disk ready and finish an earlier life's burst. Raises ConfigError, which says what to do."""
        outcome = await self._thread.run(self._disk.open)
        manifest = self._disk.manifest
        if manifest.damaged:
            log.warning("sync.manifest_damaged", reason=manifest.damaged)
        self._ledger.noted(outcome.notes, (), manifest.revision)
        if outcome.unfinished:
            log.warning("sync.unfinished", reason=" ".join(outcome.unfinished))
        self._untold = outcome
        await self._look(read=manifest.unclean)
        self._ledger.on_disk(manifest)
        log.info("sync.opened", files=len(manifest.files), etag=manifest.etag, revision=manifest.revision)

    def now(self) -> None:
        """Look at the disk and ask the backend at once, instead of at the end of a pause or of a held request."""
        self._now_wanted = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        await self._packages.settle(frozenset(self._disk.manifest.files))
        while True:
            wanted, self._now_wanted = self._now_wanted, False
            try:
                if wanted or self._clock.monotonic() >= self._pace.look_at:
                    await self._look(read=wanted)
                pause = await self._turn(at_once=wanted)
            except DiskError as error:
                pause = self._failed(Ask(None), error, took=0.0)
            if pause > 0:
                await self._patiently(asyncio.sleep(pause))

    @property
    def has_set(self) -> bool:
        """Whether a whole set of the backend's was on the disk when this was opened."""
        return self._ledger.facts.applied_at is not None

    async def close(self) -> None:
        """End this life in order, after whatever the disk is still doing. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._thread.run(self._disk.close)
        except DiskError as error:
            log.warning("sync.close_failed", reason=str(error))
        finally:
            self._thread.close()

    async def _look(self, *, read: bool) -> None:
        """See whether the managed files still are what the agent wrote; `read`: trust no time stamp."""
        found = await self._thread.run(self._disk.stale, read=read)
        again = found == self._found_last
        self._pace = self._pace.looked(found=bool(found), again=again, now=self._clock.monotonic())
        if found and not again:
            log.warning("sync.changed_on_disk", files=len(found), first=min(found))
        self._found_last = self._stale = found

    async def _turn(self, *, at_once: bool) -> float:
        """One exchange with the backend; the seconds to pause before the next."""
        began = self._clock.monotonic()
        # A request is held only where nothing waits for its answer: not the first of a life, not one after a failure.
        calm = not at_once and self._ledger.facts.state == "current"
        wait = self._timing.long_poll_wait if calm else 0.0
        ask = self._pace.ask(self._disk.manifest.etag, wait=wait, now=began)
        self._ledger.asked()
        try:
            async with AsyncExitStack() as stack:
                answer = await self._patiently(stack.enter_async_context(self._backend.ask(ask)))
                if answer is None:  # somebody wants it now, and this request may be held for long
                    return 0.0
                try:
                    news = await self._take_in(answer)
                finally:
                    self._ledger.received(answer.bytes)
        except (BackendError, DiskError) as error:
            return self._failed(ask, error, took=self._clock.monotonic() - began)
        took = self._clock.monotonic() - began
        tagged = self._disk.manifest.etag is not None
        self._pace, pauses = self._pace.answered(ask, kind=news, held=answer.head.held, tagged=tagged, took=took)
        if not pauses or (tagged and not calm and news != "held back"):  # now the next one may be held
            return 0.0
        return poll_pause(self._timing.poll_interval, self._clock.chance())

    async def _take_in(self, answer: Answer) -> News:
        """Receive an answer, and make it true unless it is held back."""
        self._ledger.answered(answer.head)
        if answer.head.kind == "same":
            return self._nothing_changed()
        known = {path: record.sha256 for path, record in self._disk.manifest.files.items()}
        reception = Reception(
            backend=self._backend,
            disk=self._disk,
            thread=self._thread,
            known=known,
            stale=self._stale,
            progress=self._ledger.progress,
        )
        digest = None
        if answer.head.stream:
            await reception.stream(answer)
        else:
            body = await answer.body()
            digest = hashlib.sha256(body).digest()
            same = digest == self._same_body and answer.head.kind == "whole" and self._is_on_disk(answer.head)
            if same and not self._stale:
                return self._nothing_changed()
            await reception.whole(body, delta=answer.head.kind == "delta")
            del body
        if reception.blobs:
            self._ledger.came_apart()
        return await self._obey(answer, reception, known, digest)

    async def _obey(self, answer: Answer, reception: Reception, known: dict[str, str], digest: bytes | None) -> News:
        head, gathered, manifest = answer.head, reception.gathered, self._disk.manifest
        delta = head.kind == "delta"
        received_at, began = rfc3339(self._clock.wall()), self._clock.monotonic()
        gathered.refuse_overlaps(frozenset(known) if delta else frozenset())
        makes_room = delta and self._ledger.waits_for_room(gathered.deleted)
        self._ledger.refused(gathered, delta=delta, revision=head.revision)
        if delta:
            gathered.check_together(*manifest.besides(gathered.files.keys() | gathered.deleted))
        else:
            verdict = hold(
                known, gathered, revision=head.revision, last_revision=manifest.revision, said=self._said, now=began
            )
            self._said = verdict.said if verdict else None
            if verdict:
                self._ledger.held(verdict.reason)
                return "held back"
        operations = plan(known, gathered, delta=delta, stale=self._stale)
        if not delta or any(isinstance(each, Remove) or each.path not in known for each in operations):
            operations = await self._thread.run(self._disk.with_template, operations)
        if not operations and not makes_room and self._is_on_disk(head):
            self._same_body = digest if not (delta or gathered.refused) else None
            return self._nothing_changed()
        await asyncio.sleep(self._deleted_folders.pause(_written(operations), self._clock.monotonic()))
        outcome = await self._apply(operations, head)
        now = self._clock.monotonic()
        self._deleted_folders = self._deleted_folders.after(outcome.deleted, manifest.files.keys(), now)
        touched = (*outcome.written, *outcome.deleted)
        self._ledger.noted(outcome.notes, touched, head.revision)
        self._stale = self._stale - set(touched) if delta else frozenset()
        self._untold = Outcome((*self._untold.written, *outcome.written), (*self._untold.deleted, *outcome.deleted))
        if outcome.unfinished is not None:
            path, why = outcome.unfinished
            raise DiskError(f"{shown(path)} {why}")
        self._same_body = digest if not (delta or gathered.refused or outcome.notes) else None
        done = self._done(received_at)
        self._ledger.applied(manifest, done, took=self._clock.monotonic() - began)
        self._on_applied(done)
        if makes_room:
            return "made room"
        return "news" if operations else "nothing"

    async def _apply(self, operations: tuple[Operation, ...], head: Head) -> Outcome:
        """Move a set into place: in one burst, or in two with an installation in between, where packages ask for it.
        The tag is the disk's once all is done: whoever is cancelled in between leaves the rest to the next start.
        """
        changed: dict[str, bytes | None] = {}
        lent: set[str] = set()
        for operation in operations:
            if self._packages.concerns(operation.path) and not isinstance(operation, Folder):
                changed[operation.path] = None
                if isinstance(operation, Put):
                    lent |= {operation.path} if operation.template else set()
                    changed[operation.path] = await self._thread.run(self._disk.staged, operation.sha256)
        if not changed:
            return await self._thread.run(self._disk.apply, operations, etag=head.etag, revision=head.revision)
        gone = {path for path, data in changed.items() if data is None}
        gone |= {operation.path for operation in operations if isinstance(operation, Remove)}
        written = {each.path for each in operations if isinstance(each, Put) and not each.template}
        managed = (self._disk.manifest.files.keys() | changed.keys() | written) - gone - lent
        async with self._packages.errand(changed, managed) as errand:
            if errand.ahead is None:
                outcome = await self._thread.run(self._disk.apply, operations, etag=head.etag, revision=head.revision)
            else:
                ahead, rest = halves(operations, errand.needs)
                begun = await self._thread.run(
                    self._disk.begin, (*ahead, *rest), len(ahead), etag=head.etag, revision=head.revision
                )
                await errand.ahead()
                outcome = await self._thread.run(self._disk.complete, begun)
            if errand.behind is not None:
                await errand.behind()
        return outcome

    def _nothing_changed(self) -> News:
        self._said = None  # a mass deletion has to be said several times in a row
        self._ledger.current()
        if not self._told_first:  # the rest of the house waits to hear that what is on disk is the backend's
            self._on_applied(self._done(rfc3339(self._clock.wall())))
        return "nothing"

    def _is_on_disk(self, head: Head) -> bool:
        """Whether this tag and this revision are those of the set on disk."""
        manifest = self._disk.manifest
        return manifest.complete and (head.etag, head.revision) == (manifest.etag, manifest.revision)

    def _done(self, received_at: str) -> Applied:
        """The set that is on disk, with all that was written for it: by bursts that were not finished, too."""
        manifest, done, self._untold = self._disk.manifest, self._untold, Outcome()
        self._told_first = True
        written_at = rfc3339(self._clock.wall())
        return Applied(manifest.revision, manifest.etag, done.written, done.deleted, received_at, written_at)

    def _failed(self, ask: Ask, error: AgentError, *, took: float) -> float:
        self._pace = self._pace.failed(
            ask,
            broke_off=isinstance(error, Unreachable),
            drop_tag=isinstance(error, BadAnswer),
            took=took,
            now=self._clock.monotonic(),
        )
        told = error.retry_after if isinstance(error, BackendError) else None
        pause = self._pace.pause(told=told, chance=self._clock.chance())
        self._ledger.failed(error, tries=self._pace.tries, pause=pause)
        if isinstance(error, DiskError) and error.full:
            self._on_full(str(error))
        return pause

    async def _patiently(self, awaited: Awaitable[T]) -> T | None:
        """What `awaited` gives, or None when `now` was called before it came."""
        try:
            async with asyncio.timeout(0 if self._now_wanted else None) as self._patience:
                return await awaited
        except TimeoutError:
            return None
        finally:
            self._patience = None


def _written(operations: tuple[Operation, ...]) -> Iterator[str]:
    return (operation.path for operation in operations if not isinstance(operation, Remove))
