"""Publishes what the sync does: its facts, its problems and its log lines, in one place so that they agree.

The loop calls a method for each event; this computes what is true afterwards. A problem stays until its cause is gone:
a refusal until the backend withdraws the path, a replaced edit until its file is written again, a failure until the
next valid answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import structlog

from agent.clock import Clock, rfc3339
from agent.errors import SyncError
from agent.paths import overlapping, refusal, shown
from agent.status import Applied, Failure, Problem, SyncFacts
from agent.sync.answer_set import AnswerSet
from agent.sync.disk.journal import Manifest
from agent.sync.protocol.exchange import AnswerHead

MAX_PROBLEMS = 50
PROGRESS_SECONDS = 0.1
"""Progress is published at most this often."""

log = structlog.get_logger()


class SyncPublisher:
    def __init__(
        self, clock: Clock, publish: Callable[[SyncFacts], None], problems: Callable[[tuple[Problem, ...]], None]
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._problems = problems
        self._refused: dict[str, Problem] = {}
        """Path → why the agent does not write it."""
        self._disk_problems: dict[str, Problem] = {}
        """Path → what a burst found there."""
        self._progress_at = 0.0
        self.facts = SyncFacts()

    def request_sent(self) -> None:
        self._set_facts(requests=self.facts.requests + 1)

    def bytes_received(self, size: int) -> None:
        self._set_facts(bytes_received=self.facts.bytes_received + size)

    def head_received(self, head: AnswerHead) -> None:
        """Record which optional features the backend showed. A 304 has no body, so it keeps what bodies showed."""
        offered = {
            "etag": head.etag is not None,
            "wait": head.held,
            "delta": head.kind == "delta" or (head.kind == "same" and "delta" in self.facts.backend),
            "stream": head.stream or (head.kind == "same" and "stream" in self.facts.backend),
            "blobs": "blobs" in self.facts.backend,
            "revision": head.revision is not None or (head.kind == "same" and "revision" in self.facts.backend),
        }
        self._set_facts(
            answered_at=rfc3339(self._clock.wall()),
            backend=tuple(name for name, is_offered in offered.items() if is_offered),
        )

    def blobs_offered(self) -> None:
        if "blobs" not in self.facts.backend:
            self._set_facts(backend=(*self.facts.backend, "blobs"))

    def progress(self, done: int, total: int | None) -> None:
        now = self._clock.monotonic()
        if now - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = now
            self._set_facts(progress=(done, total))

    def set_on_disk(self, manifest: Manifest) -> None:
        """Publish the set that an earlier run left on disk."""
        applied_at = rfc3339(self._clock.wall()) if manifest.complete else None
        self._set_facts(applied_at=applied_at, **_size_of(manifest))

    def nothing_changed(self) -> None:
        """The backend confirmed that the set on disk is current."""
        self._log_recovery()
        self._set_facts(state="current", held=None, failure=None, progress=None)
        self._publish_problems()

    def answer_held_back(self, reason: str) -> None:
        if self.facts.held != reason:
            log.warning("sync.held_back", reason=reason)
        self._set_facts(state="held", held=reason, failure=None, progress=None)
        self._publish_problems()

    def set_applied(self, manifest: Manifest, applied: Applied, *, took: float) -> None:
        self._log_recovery()
        self._set_facts(
            state="current",
            held=None,
            failure=None,
            progress=None,
            applied_at=applied.written_at,
            sets_applied=self.facts.sets_applied + 1,
            **_size_of(manifest),
        )
        self._publish_problems()
        log.info(
            "sync.applied",
            revision=applied.revision,
            etag=applied.etag,
            files=len(applied.written),
            deleted=len(applied.deleted),
            ms=round(took * 1000),
        )

    def paths_refused(self, answer_set: AnswerSet, *, delta: bool, revision: int | None) -> None:
        """Replace the refusals by those of this answer. A delta leaves those of the paths it does not name."""
        before = self._refused
        kept = before.keys() - answer_set.files.keys() - answer_set.deleted if delta else set()
        self._refused = {path: before[path] for path in kept}
        for path, why in answer_set.refused.items():
            problem = Problem(
                "sync",
                f"{shown(path)} {why}; it was left out",
                file=shown(path),
                since_revision=revision,
                code="path-refused",
            )
            known = before.get(path)
            if known is None or known.message != problem.message:
                log.warning("sync.refused", path=shown(path), reason=why)
            self._refused[path] = known if known is not None and known.message == problem.message else problem

    def unblocks_refused(self, deleted: AbstractSet[str]) -> bool:
        """True if a path was refused because of one of `deleted`. A delta does not name the refused path again."""
        paths = {path for path in self._refused if refusal(path) is None}
        return not paths.isdisjoint(overlapping(paths | deleted))

    def disk_notes(self, notes: Iterable[tuple[str, str]], changed: Iterable[str], revision: int | None) -> None:
        """Publish what a burst found on disk. Older notes of the paths it `changed` are dropped."""
        for path in changed:
            self._disk_problems.pop(path, None)
        for path, why in notes:
            log.warning("sync.path_problem", path=shown(path), reason=why)
            self._disk_problems[path] = Problem(
                "sync", f"{shown(path)} {why}", file=shown(path), since_revision=revision, code="path-problem"
            )

    def attempt_failed(self, error: SyncError, *, tries: int, pause: float) -> None:
        """An exchange failed and the disk is unchanged; the retry is in `pause` seconds."""
        now = self._clock.wall()
        last = self.facts.failure
        since = last.since if last is not None else rfc3339(now)
        log.warning("sync.failed", code=error.code, reason=str(error), tries=tries, next_try_s=round(pause, 1))
        failure = Failure(error.code, str(error), since, tries, rfc3339(now + pause))
        self._set_facts(state="failing", failure=failure, progress=None)
        self._publish_problems()

    def _log_recovery(self) -> None:
        if self.facts.failure is not None:
            log.info("sync.recovered", after_tries=self.facts.failure.tries)

    def _publish_problems(self) -> None:
        problems = [*self._refused.values(), *self._disk_problems.values()]
        if self.facts.held is not None:
            problems.insert(0, Problem("sync", self.facts.held, code="deletion-held-back"))
        if (failure := self.facts.failure) is not None:
            problems.insert(0, Problem("sync", failure.message, code=failure.code.replace("_", "-")))
        self._problems(tuple(problems[:MAX_PROBLEMS]))

    def _set_facts(self, **changes: object) -> None:
        self.facts = replace(self.facts, **changes)  # type: ignore[arg-type]  # replace() itself checks the names
        self._publish(self.facts)


def _size_of(manifest: Manifest) -> Mapping[str, object]:
    return {
        "revision": manifest.revision,
        "etag": manifest.etag,
        "files": len(manifest.files),
        "bytes": sum(record.size for record in manifest.files.values()),
    }
