"""Decides what to request next and how long to pause after each outcome.

Pure. A backend is trusted while it behaves as announced: one that claims to hold a request and answers at once, or
whose held requests keep breaking off, is polled without a wait for some time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent.clock import full_jitter
from agent.sync.protocol.exchange import FilesRequest

BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0
BROKEN_HOLDS = 2
"""After this many held requests in a row that broke off, requests are not held…"""
NO_HOLDS_SECONDS = 300.0
"""…for this long."""
SHORTEST_HOLD = 1.0
"""An answer without changes that arrives sooner than this was not held, whatever Preference-Applied says."""
DISK_CHECK_SECONDS = 60.0
"""Interval for checking the managed files' time stamps for edits that did not come from the backend."""
LONGEST_DISK_CHECK_SECONDS = 3_600.0

Effect = Literal["changed", "unchanged", "held back", "unblocked"]
"""What an answer did. "unblocked": it also deleted a path that had caused the refusal of others, so that the whole set
is requested again."""


@dataclass(frozen=True, slots=True)
class PollState:
    tries: int = 0
    """Consecutive failures."""
    broken_holds: int = 0
    """Consecutive held requests that broke off."""
    no_holds_until: float = 0.0
    """Monotonic seconds; until then no request is held."""
    whole: bool = False
    """The next request names no tag, so that the answer is the whole set."""
    check_disk_at: float = 0.0
    """Monotonic seconds of the next check of the managed files."""
    check_disk_every: float = DISK_CHECK_SECONDS

    def next_request(self, tag: str | None, *, wait: float, now: float) -> FilesRequest:
        """The next request. `wait`: seconds to ask the backend to hold it; 0: an answer at once."""
        named = None if self.whole else tag
        held = named is not None and now >= self.no_holds_until
        return FilesRequest(named, int(wait) if held else 0)

    def after_answer(
        self,
        request: FilesRequest,
        *,
        effect: Effect,
        held: bool,
        tagged: bool,
        took: float,
    ) -> tuple[PollState, bool]:
        """The state after a valid answer, and whether to pause for POLL_INTERVAL before the next request.

        `held`: the backend honoured the wait. `tagged`: the disk has a tag now, which a held request needs. `took`:
        seconds until the answer.
        """
        broken = 0 if request.wait else self.broken_holds
        state = replace(self, tries=0, broken_holds=broken, whole=effect == "unblocked")
        if effect in {"held back", "unblocked"}:
            return state, effect == "held back"
        if request.wait:
            return state, not held or not tagged or (
                effect == "unchanged" and took < min(SHORTEST_HOLD, request.wait / 2)
            )
        # After the first tag, ask again at once, to learn whether the backend can hold requests.
        return state, not (request.tag is None and tagged)

    def after_failure(
        self, request: FilesRequest, *, broke_off: bool, drop_tag: bool, took: float, now: float
    ) -> PollState:
        """The state after a failure. `broke_off`: a network failure. `drop_tag`: the answer was invalid, so no delta
        may build on it.
        """
        holds = self.broken_holds + 1 if broke_off and request.wait and took > SHORTEST_HOLD else self.broken_holds
        until = now + NO_HOLDS_SECONDS if holds >= BROKEN_HOLDS else self.no_holds_until
        return replace(
            self,
            tries=self.tries + 1,
            broken_holds=0 if holds >= BROKEN_HOLDS else holds,
            no_holds_until=until,
            whole=self.whole or drop_tag,
        )

    def after_disk_check(self, *, found: bool, again: bool, now: float) -> PollState:
        """The state after a disk check. Changed files (`found`) are requested again with the whole set. If the same
        files were found last time (`again`), they could not be restored, and the interval doubles.
        """
        every = min(self.check_disk_every * 2, LONGEST_DISK_CHECK_SECONDS) if found and again else DISK_CHECK_SECONDS
        return replace(self, whole=self.whole or found, check_disk_every=every, check_disk_at=now + every)

    def retry_pause(self, *, retry_after: float | None, chance: float) -> float:
        """Seconds until the next try after a failure. A Retry-After of 0, or of a date that is past, does not cancel
        the back-off: otherwise a struggling backend would be asked without a pause.
        """
        own = full_jitter(self.tries, base=BACKOFF_BASE, cap=BACKOFF_CAP, chance=chance)
        if retry_after is None:
            return own
        return retry_after if retry_after >= BACKOFF_BASE else max(retry_after, own)


def poll_pause(interval: float, chance: float) -> float:
    """POLL_INTERVAL ± 10 % (contract, section 3), so that many agents do not poll in step."""
    return interval * (0.9 + 0.2 * chance)
