"""What this room tells the rest: its facts, its problems and its log lines, kept in one place so that they agree.

The loop says what happened; this says what is true because of it. A problem stands until what caused it is gone: a
refusal until the backend takes the path back, a kept edit until its file is written anew, a failure until an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import structlog

from agent.clock import Clock, rfc3339
from agent.errors import AgentError
from agent.paths import overlapping, refusal, shown
from agent.status import Applied, Failure, Problem, SyncFacts
from agent.sync.answer_set import Gathered
from agent.sync.disk.journal import Manifest
from agent.sync.protocol.exchange import Head

MAX_PROBLEMS = 50
PROGRESS_SECONDS = 0.1

log = structlog.get_logger()


class Ledger:
    def __init__(
        self, clock: Clock, publish: Callable[[SyncFacts], None], problems: Callable[[tuple[Problem, ...]], None]
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._problems = problems
        self._refused: dict[str, Problem] = {}
        self._noted: dict[str, Problem] = {}
        self._progress_at = 0.0
        self.facts = SyncFacts()

    def asked(self) -> None:
        self._set(requests=self.facts.requests + 1)

    def received(self, size: int) -> None:
        self._set(bytes_received=self.facts.bytes_received + size)

    def answered(self, head: Head) -> None:
        """An answer's head came: what it shows of the backend. A 304 has no body, and says nothing about bodies."""
        offered = {
            "etag": head.etag is not None,
            "wait": head.held,
            "delta": head.kind == "delta" or (head.kind == "same" and "delta" in self.facts.backend),
            "stream": head.stream or (head.kind == "same" and "stream" in self.facts.backend),
            "blobs": "blobs" in self.facts.backend,
            "revision": head.revision is not None or (head.kind == "same" and "revision" in self.facts.backend),
        }
        self._set(
            answered_at=rfc3339(self._clock.wall()),
            backend=tuple(name for name, is_offered in offered.items() if is_offered),
        )

    def came_apart(self) -> None:
        if "blobs" not in self.facts.backend:
            self._set(backend=(*self.facts.backend, "blobs"))

    def progress(self, done: int, total: int | None) -> None:
        now = self._clock.monotonic()
        if now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            self._set(progress=(done, total))

    def on_disk(self, manifest: Manifest) -> None:
        """An earlier life's set is in place."""
        applied_at = rfc3339(self._clock.wall()) if manifest.complete else None
        self._set(applied_at=applied_at, **_size_of(manifest))

    def current(self) -> None:
        """The backend said that nothing changed."""
        self._recovered()
        self._set(state="current", held=None, failure=None, progress=None)
        self._tell()

    def held(self, reason: str) -> None:
        if self.facts.held != reason:
            log.warning("sync.held_back", reason=reason)
        self._set(state="held", held=reason, failure=None, progress=None)
        self._tell()

    def applied(self, manifest: Manifest, done: Applied, *, took: float) -> None:
        self._recovered()
        self._set(
            state="current",
            held=None,
            failure=None,
            progress=None,
            applied_at=done.written_at,
            sets_applied=self.facts.sets_applied + 1,
            **_size_of(manifest),
        )
        self._tell()
        log.info(
            "sync.applied",
            revision=done.revision,
            etag=done.etag,
            files=len(done.written),
            deleted=len(done.deleted),
            ms=round(took * 1000),
        )

    def refused(self, gathered: Gathered, *, delta: bool, revision: int | None) -> None:
        """What of an answer may not be written. A delta leaves standing what it does not name."""
        before = self._refused
        kept = before.keys() - gathered.files.keys() - gathered.deleted if delta else set()
        self._refused = {path: before[path] for path in kept}
        for path, why in gathered.refused.items():
            problem = Problem(
                "sync", f"{shown(path)} {why}; it was left out", file=shown(path), since_revision=revision
            )
            known = before.get(path)
            if known is None or known.message != problem.message:
                log.warning("sync.refused", path=shown(path), reason=why)
            self._refused[path] = known if known is not None and known.message == problem.message else problem

    def waits_for_room(self, deleted: AbstractSet[str]) -> bool:
        """Whether something was refused because of one of `deleted`. A delta does not name it again."""
        paths = {path for path in self._refused if refusal(path) is None}
        return not paths.isdisjoint(overlapping(paths | deleted))

    def noted(self, notes: Iterable[tuple[str, str]], done: Iterable[str], revision: int | None) -> None:
        """What a burst found on the disk; `done`: the paths that it wrote or deleted, whose older notes are settled."""
        for path in done:
            self._noted.pop(path, None)
        for path, why in notes:
            log.warning("sync.noted", path=shown(path), reason=why)
            self._noted[path] = Problem("sync", f"{shown(path)} {why}", file=shown(path), since_revision=revision)

    def failed(self, error: AgentError, *, tries: int, pause: float) -> None:
        """The disk stays as it is; the next try is in `pause` seconds."""
        now = self._clock.wall()
        last = self.facts.failure
        since = last.since if last is not None else rfc3339(now)
        log.warning("sync.failed", code=error.code, reason=str(error), tries=tries, next_try_s=round(pause, 1))
        failure = Failure(error.code, str(error), since, tries, rfc3339(now + pause))
        self._set(state="failing", failure=failure, progress=None)
        self._tell()

    def _recovered(self) -> None:
        if self.facts.failure is not None:
            log.info("sync.recovered", after_tries=self.facts.failure.tries)

    def _tell(self) -> None:
        problems = [*self._refused.values(), *self._noted.values()]
        if self.facts.held is not None:
            problems.insert(0, Problem("sync", self.facts.held))
        if self.facts.failure is not None:
            problems.insert(0, Problem("sync", self.facts.failure.message))
        self._problems(tuple(problems[:MAX_PROBLEMS]))

    def _set(self, **changes: object) -> None:
        self.facts = replace(self.facts, **changes)  # type: ignore[arg-type]  # names are checked by replace itself
        self._publish(self.facts)


def _size_of(manifest: Manifest) -> Mapping[str, object]:
    return {
        "revision": manifest.revision,
        "etag": manifest.etag,
        "files": len(manifest.files),
        "bytes": sum(record.size for record in manifest.files.values()),
    }
