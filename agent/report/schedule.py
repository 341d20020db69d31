"""When the next report is due.

One frozen Schedule, replaced by each outcome; `due` reads it. Times are monotonic seconds. What the backend has last
been told (`told`) stays what it was when a report fails, so the next one that is due is made of the newest state, and
nothing has to be kept for it.

Pure: no clock, no network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.clock import full_jitter

PACE_SECONDS = 1.0
EVERY_SECONDS = 30.0
UNSERVED_SECONDS = 300.0
BACKOFF_BASE, BACKOFF_CAP = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`not_before`: no report leaves earlier, whatever happens. `at_latest`: one leaves by then, with or without news.

    `failures`: reports in a row that did not get through.
    """

    not_before: float
    at_latest: float
    told: object = None
    failures: int = 0

    def due(self, news: object) -> float:
        """The moment of the next report, if `news` is what it would say."""
        return self.not_before if news != self.told else self.at_latest

    def told_at(self, sent: float, news: object) -> Schedule:
        """The backend took a report that left at `sent`."""
        return Schedule(not_before=sent + PACE_SECONDS, at_latest=sent + EVERY_SECONDS, told=news)

    def failed_at(self, now: float, *, retry_after: float | None, chance: float) -> Schedule:
        """A report failed. The backend's own word on when to come again counts, and back-off where it gave none."""
        failures = self.failures + 1
        pause = full_jitter(failures, base=BACKOFF_BASE, cap=BACKOFF_CAP, chance=chance)
        if retry_after is not None:
            pause = retry_after
        again = now + max(pause, PACE_SECONDS)
        return replace(self, not_before=again, at_latest=again, failures=failures)

    def unserved_at(self, now: float) -> Schedule:
        """The backend has no such endpoint: it is asked again now and then, because backends are updated too."""
        again = now + UNSERVED_SECONDS
        return replace(self, not_before=again, at_latest=again, failures=0)


def first(now: float) -> Schedule:
    """The first report is due at once: it says that the machine is there."""
    return Schedule(not_before=now, at_latest=now)
