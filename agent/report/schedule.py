"""Decides when the next report is due.

Pure. Each outcome gives a new frozen Schedule; times are monotonic seconds. A failed report keeps `reported` as it was,
so that the next one is made from the newest state and nothing has to be queued.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.clock import full_jitter

SHORTEST_INTERVAL_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 30.0
UNSERVED_SECONDS = 300.0
"""A backend without the endpoint is tried again after this long, because backends are updated."""
BACKOFF_BASE, BACKOFF_CAP = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    not_before: float
    """No report is sent earlier."""
    at_latest: float
    """A report is sent by then even if nothing changed."""
    reported: object = None
    """The `urgent_parts` of the last report that the backend accepted."""
    failures: int = 0
    """Consecutive reports that failed."""

    def due(self, current: object) -> float:
        """When the next report is due, if `current` is what it would report."""
        return self.not_before if current != self.reported else self.at_latest

    def after_accepted(self, sent: float, reported: object) -> Schedule:
        """The backend accepted a report that was sent at `sent`."""
        return Schedule(
            not_before=sent + SHORTEST_INTERVAL_SECONDS,
            at_latest=sent + LONGEST_INTERVAL_SECONDS,
            reported=reported,
        )

    def after_failure(self, now: float, *, retry_after: float | None, chance: float) -> Schedule:
        """A report failed. The pause is Retry-After if the backend sent it, else the back-off."""
        failures = self.failures + 1
        pause = full_jitter(failures, base=BACKOFF_BASE, cap=BACKOFF_CAP, chance=chance)
        if retry_after is not None:
            pause = retry_after
        again = now + max(pause, SHORTEST_INTERVAL_SECONDS)
        return replace(self, not_before=again, at_latest=again, failures=failures)

    def after_unserved(self, now: float) -> Schedule:
        """The backend has no endpoint for reports."""
        again = now + UNSERVED_SECONDS
        return replace(self, not_before=again, at_latest=again, failures=0)


def first(now: float) -> Schedule:
    """The schedule at the start: the first report is due at once."""
    return Schedule(not_before=now, at_latest=now)
