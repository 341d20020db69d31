"""The sync loop: poll the backend, receive the answer, plan, apply, publish; repeat.

`poll_policy.py`, `plan.py` and `protocol/exchange.py` make the decisions; this module carries them out. After a failure
the disk is unchanged, the failure is published and the request is retried. Only a bug in the agent ends the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

import structlog

from agent.clock import Clock, rfc3339
from agent.errors import BackendError, BadAnswer, DiskError, SyncError, Unreachable
from agent.install_hooks import Packages
from agent.paths import shown
from agent.status import Applied, Problem, SyncFacts
from agent.sync.answer_set import AnswerSet
from agent.sync.deleted_folders import DeletedFolders
from agent.sync.disk.disk_thread import DiskThread
from agent.sync.disk.store import Disk, Outcome
from agent.sync.plan import Folder, MassDeletion, Operation, Put, Remove, hold_back, plan, split_for_install
from agent.sync.poll_policy import Effect, PollState, poll_pause
from agent.sync.protocol.client import Backend, FilesAnswer
from agent.sync.protocol.exchange import AnswerHead, FilesRequest
from agent.sync.protocol.receive import AnswerReceiver
from agent.sync.reporting import SyncPublisher

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    poll_interval: float
    """Seconds between polls where the backend does not hold requests."""
    long_poll_wait: float
    """Seconds the backend is asked to hold a request; 0: never."""


class Sync:
    """Keeps one app's workspace equal to the backend's set. `open`, then `run` until cancelled, then `close`."""

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
        packages: Packages,
        on_full: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`on_full` is called with the error text after each attempt that failed because the disk is full."""
        self._backend = backend
        self._disk = disk
        self._timing = timing
        self._clock = clock
        self._on_applied = on_applied
        self._packages = packages
        self._on_full = on_full
        self._thread = DiskThread()
        self._publisher = SyncPublisher(clock, publish, problems)
        self._deleted_folders = DeletedFolders()
        self._poll_state = PollState()
        self._mass_deletion: MassDeletion | None = None
        """The mass deletion that is being held back, if any."""
        self._stale: frozenset[str] = frozenset()
        """Managed paths whose bytes on disk are no longer the agent's."""
        self._stale_at_last_check: frozenset[str] = frozenset()
        self._last_body_digest: bytes | None = None
        """sha256 of the last JSON body that was applied in full, so that an equal body is not parsed again."""
        self._unreported = Outcome()
        """Paths changed by bursts that `on_applied` has not been called for yet."""
        self._reported_once = False
        self._poll_wanted = False
        self._closed = False
        self._wait_timeout: asyncio.Timeout | None = None

    async def open(self) -> None:
        """Prepare the disk and finish a burst that an earlier run left. Raises ConfigError."""
        outcome = await self._thread.run(self._disk.open)
        manifest = self._disk.manifest
        if manifest.damaged:
            log.warning("sync.manifest_damaged", reason=manifest.damaged)
        self._publisher.disk_notes(outcome.notes, (), manifest.revision)
        if outcome.unfinished:
            log.warning("sync.unfinished", reason=" ".join(outcome.unfinished))
        self._unreported = outcome
        await self._find_stale(read=manifest.unclean)
        self._publisher.set_on_disk(manifest)
        log.info("sync.opened", files=len(manifest.files), etag=manifest.etag, revision=manifest.revision)

    def poll_now(self) -> None:
        """Check the disk and poll the backend now, cutting short a pause or a held request."""
        self._poll_wanted = True
        if self._wait_timeout is not None:
            self._wait_timeout.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        await self._packages.settle(frozenset(self._disk.manifest.files))
        while True:
            wanted, self._poll_wanted = self._poll_wanted, False
            try:
                if wanted or self._clock.monotonic() >= self._poll_state.check_disk_at:
                    await self._find_stale(read=wanted)
                pause = await self._poll_once(at_once=wanted)
            except DiskError as error:
                pause = self._failure_pause(FilesRequest(None), error, took=0.0)
            if pause > 0:
                await self._interruptible(asyncio.sleep(pause))

    @property
    def has_set(self) -> bool:
        """Whether a complete set from the backend was on disk when this was opened."""
        return self._publisher.facts.applied_at is not None

    async def close(self) -> None:
        """Close the disk cleanly, after any burst that is running. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._thread.run(self._disk.close)
        except DiskError as error:
            log.warning("sync.close_failed", reason=str(error))
        finally:
            self._thread.close()

    async def _find_stale(self, *, read: bool) -> None:
        """Find managed files that were changed on disk. `read`: hash every file instead of trusting time stamps."""
        found = await self._thread.run(self._disk.find_stale, read=read)
        again = found == self._stale_at_last_check
        self._poll_state = self._poll_state.after_disk_check(
            found=bool(found), again=again, now=self._clock.monotonic()
        )
        if found and not again:
            log.warning("sync.changed_on_disk", files=len(found), first=min(found))
        self._stale_at_last_check = self._stale = found

    async def _poll_once(self, *, at_once: bool) -> float:
        """Do one exchange with the backend. Returns the seconds to pause before the next one."""
        began = self._clock.monotonic()
        # Only hold a request when nobody is waiting for its answer: not the first one, not one after a failure.
        may_hold = not at_once and self._publisher.facts.state == "current"
        wait = self._timing.long_poll_wait if may_hold else 0.0
        request = self._poll_state.next_request(self._disk.manifest.etag, wait=wait, now=began)
        self._publisher.request_sent()
        try:
            async with AsyncExitStack() as stack:
                answer = await self._interruptible(stack.enter_async_context(self._backend.get_files(request)))
                if answer is None:  # poll_now() was called, and this request may be held for a long time
                    return 0.0
                try:
                    effect = await self._receive(answer)
                finally:
                    self._publisher.bytes_received(answer.bytes)
        except (BackendError, DiskError) as error:
            return self._failure_pause(request, error, took=self._clock.monotonic() - began)
        took = self._clock.monotonic() - began
        tagged = self._disk.manifest.etag is not None
        self._poll_state, pauses = self._poll_state.after_answer(
            request, effect=effect, held=answer.head.held, tagged=tagged, took=took
        )
        if not pauses or (tagged and not may_hold and effect != "held back"):  # the next request can be held
            return 0.0
        return poll_pause(self._timing.poll_interval, self._clock.chance())

    async def _receive(self, answer: FilesAnswer) -> Effect:
        """Read an answer, stage its bytes, and apply it unless it is held back."""
        head = answer.head
        self._publisher.head_received(head)
        if head.kind == "same":
            return self._unchanged()
        known = {path: record.sha256 for path, record in self._disk.manifest.files.items()}
        receiver = AnswerReceiver(
            backend=self._backend,
            disk=self._disk,
            thread=self._thread,
            known=known,
            stale=self._stale,
            progress=self._publisher.progress,
        )
        digest = None
        if head.stream:
            await receiver.receive_ndjson(answer)
        else:
            body = await answer.body()
            digest = hashlib.sha256(body).digest()
            same = digest == self._last_body_digest and head.kind == "whole" and self._is_on_disk(head)
            if same and not self._stale:
                return self._unchanged()
            await receiver.receive_json(body, delta=head.kind == "delta")
            del body
        if receiver.has_blobs:
            self._publisher.blobs_offered()
        return await self._hold_back_or_apply(head, receiver.answer_set, known, digest)

    async def _hold_back_or_apply(
        self, head: AnswerHead, answer_set: AnswerSet, known: dict[str, str], digest: bytes | None
    ) -> Effect:
        """Decide whether a received set is plausible, and apply it if so. `digest`: sha256 of a JSON body."""
        manifest, delta = self._disk.manifest, head.kind == "delta"
        received_at, began = rfc3339(self._clock.wall()), self._clock.monotonic()
        answer_set.refuse_overlaps(frozenset(known) if delta else frozenset())
        unblocks = delta and self._publisher.unblocks_refused(answer_set.deleted)
        self._publisher.paths_refused(answer_set, delta=delta, revision=head.revision)
        if delta:
            answer_set.check_limits(*manifest.totals_without(answer_set.files.keys() | answer_set.deleted))
        else:
            held_back = hold_back(
                known,
                answer_set,
                revision=head.revision,
                last_revision=manifest.revision,
                pending=self._mass_deletion,
                now=began,
            )
            self._mass_deletion = held_back.pending if held_back else None
            if held_back:
                self._publisher.answer_held_back(held_back.reason)
                return "held back"
        operations = plan(known, answer_set, delta=delta, stale=self._stale)
        if not delta or any(isinstance(each, Remove) or each.path not in known for each in operations):
            operations = await self._thread.run(self._disk.with_template, operations)
        if not operations and not unblocks and self._is_on_disk(head):
            self._last_body_digest = digest if not (delta or answer_set.refused) else None
            return self._unchanged()
        await asyncio.sleep(self._deleted_folders.pause(_written(operations), self._clock.monotonic()))
        outcome = await self._apply(operations, head)
        now = self._clock.monotonic()
        self._deleted_folders = self._deleted_folders.after(outcome.deleted, manifest.files.keys(), now)
        changed = (*outcome.written, *outcome.deleted)
        self._publisher.disk_notes(outcome.notes, changed, head.revision)
        self._stale = self._stale - set(changed) if delta else frozenset()
        before = self._unreported
        self._unreported = Outcome((*before.written, *outcome.written), (*before.deleted, *outcome.deleted))
        if outcome.unfinished is not None:
            path, why = outcome.unfinished
            raise DiskError(f"{shown(path)} {why}")
        self._last_body_digest = digest if not (delta or answer_set.refused or outcome.notes) else None
        applied = self._applied_set(received_at)
        self._publisher.set_applied(manifest, applied, took=self._clock.monotonic() - began)
        self._on_applied(applied)
        if unblocks:
            return "unblocked"
        return "changed" if operations else "unchanged"

    async def _apply(self, operations: tuple[Operation, ...], head: AnswerHead) -> Outcome:
        """Move a set into place: in one burst, or in two with a package install between them.

        The tag is recorded only when all of it is done. If this is cancelled in between, the next start does the rest.
        """
        contents: dict[str, bytes | None] = {}
        from_template: set[str] = set()
        for operation in operations:
            if self._packages.concerns(operation.path) and not isinstance(operation, Folder):
                contents[operation.path] = None
                if isinstance(operation, Put):
                    from_template |= {operation.path} if operation.template else set()
                    contents[operation.path] = await self._thread.run(self._disk.read_staged, operation.sha256)
        if not contents:
            return await self._thread.run(self._disk.apply, operations, etag=head.etag, revision=head.revision)
        gone = {path for path, data in contents.items() if data is None}
        gone |= {operation.path for operation in operations if isinstance(operation, Remove)}
        written = {each.path for each in operations if isinstance(each, Put) and not each.template}
        managed = (self._disk.manifest.files.keys() | contents.keys() | written) - gone - from_template
        async with self._packages.install_hooks(contents, managed) as hooks:
            if hooks.before_sources is None:
                outcome = await self._thread.run(self._disk.apply, operations, etag=head.etag, revision=head.revision)
            else:
                first, rest = split_for_install(operations, hooks.needs)
                begun = await self._thread.run(
                    self._disk.begin, (*first, *rest), len(first), etag=head.etag, revision=head.revision
                )
                await hooks.before_sources()
                outcome = await self._thread.run(self._disk.complete, begun)
            if hooks.after_files is not None:
                await hooks.after_files()
        return outcome

    def _unchanged(self) -> Effect:
        self._mass_deletion = None  # a mass deletion has to be repeated in consecutive answers
        self._publisher.nothing_changed()
        if not self._reported_once:  # other rooms wait for the first confirmation that the disk matches the backend
            self._on_applied(self._applied_set(rfc3339(self._clock.wall())))
        return "unchanged"

    def _is_on_disk(self, head: AnswerHead) -> bool:
        """True if the set on disk is complete and has the answer's tag and revision."""
        manifest = self._disk.manifest
        return manifest.complete and (head.etag, head.revision) == (manifest.etag, manifest.revision)

    def _applied_set(self, received_at: str) -> Applied:
        """The set on disk, with every path written for it, including those of unfinished bursts before it."""
        manifest, changes, self._unreported = self._disk.manifest, self._unreported, Outcome()
        self._reported_once = True
        written_at = rfc3339(self._clock.wall())
        return Applied(manifest.revision, manifest.etag, changes.written, changes.deleted, received_at, written_at)

    def _failure_pause(self, request: FilesRequest, error: SyncError, *, took: float) -> float:
        """Publish a failure. Returns the seconds to pause before the retry."""
        self._poll_state = self._poll_state.after_failure(
            request,
            broke_off=isinstance(error, Unreachable),
            drop_tag=isinstance(error, BadAnswer),
            took=took,
            now=self._clock.monotonic(),
        )
        retry_after = error.retry_after if isinstance(error, BackendError) else None
        pause = self._poll_state.retry_pause(retry_after=retry_after, chance=self._clock.chance())
        self._publisher.attempt_failed(error, tries=self._poll_state.tries, pause=pause)
        if isinstance(error, DiskError) and error.full:
            self._on_full(str(error))
        return pause

    async def _interruptible(self, awaited: Awaitable[T]) -> T | None:
        """The result of `awaited`, or None if `poll_now` was called first."""
        try:
            async with asyncio.timeout(0 if self._poll_wanted else None) as self._wait_timeout:
                return await awaited
        except TimeoutError:
            return None
        finally:
            self._wait_timeout = None


def _written(operations: tuple[Operation, ...]) -> Iterator[str]:
    """The paths that `operations` create or change."""
    return (operation.path for operation in operations if not isinstance(operation, Remove))
