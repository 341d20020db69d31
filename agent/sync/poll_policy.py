"""How the loop paces itself: what to ask next, how long to pause after what happened.

Pure. A backend is believed as long as it behaves: one that says it held a request and answers at once, or whose held
requests keep breaking off, is polled like a plain one, and tried again later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent.clock import full_jitter
from agent.sync.protocol.exchange import Ask

BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0
BROKEN_HOLDS = 2
"""Held requests that broke off in a row before the agent stops asking for them…"""
NO_HOLDS_SECONDS = 300.0
"""…and for how long."""
SHORTEST_HOLD = 1.0
"""An answer without news that comes sooner was not held, whatever it says."""
LOOK_SECONDS = 60.0
"""How often the managed files' time stamps are looked at for edits that did not come from the backend."""
LONGEST_LOOK = 3_600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`tries`: failures in a row. `whole`: the next request names no tag. `look_at`: when to look at the disk next."""

    tries: int = 0
    broken_holds: int = 0
    no_holds_until: float = 0.0
    whole: bool = False
    look_at: float = 0.0
    look_every: float = LOOK_SECONDS

    def ask(self, tag: str | None, *, wait: float, now: float) -> Ask:
        """The next request. `wait`: how long to ask to be held, 0 for an answer at once."""
        named = None if self.whole else tag
        held = named is not None and now >= self.no_holds_until
        return Ask(named, int(wait) if held else 0)

    def answered(
        self,
        ask: Ask,
        *,
        kind: Literal["news", "nothing", "held back", "made room"],
        held: bool,
        tagged: bool,
        took: float,
    ) -> tuple[Pace, bool]:
        """After an answer that was understood: the new pace, and whether to pause for POLL_INTERVAL before the next.

        `kind`: "made room" is news after which something that was refused may fit, so the whole set is asked for.
        `held`: the backend honoured the wait. `tagged`: there is a tag now, which a held request needs. `took`: seconds
        to the answer.
        """
        broken = 0 if ask.wait else self.broken_holds
        pace = replace(self, tries=0, broken_holds=broken, whole=kind == "made room")
        if kind in {"held back", "made room"}:
            return pace, kind == "held back"
        if ask.wait:
            return pace, not held or not tagged or (kind == "nothing" and took < min(SHORTEST_HOLD, ask.wait / 2))
        # There is a tag now: find out at once whether the backend can hold the next request.
        return pace, not (ask.tag is None and tagged)

    def failed(self, ask: Ask, *, broke_off: bool, drop_tag: bool, took: float, now: float) -> Pace:
        """After a failure. `broke_off`: the network's fault. `drop_tag`: the answer cannot be built upon."""
        holds = self.broken_holds + 1 if broke_off and ask.wait and took > SHORTEST_HOLD else self.broken_holds
        until = now + NO_HOLDS_SECONDS if holds >= BROKEN_HOLDS else self.no_holds_until
        return replace(
            self,
            tries=self.tries + 1,
            broken_holds=0 if holds >= BROKEN_HOLDS else holds,
            no_holds_until=until,
            whole=self.whole or drop_tag,
        )

    def looked(self, *, found: bool, again: bool, now: float) -> Pace:
        """After a look at the disk. What was `found` is asked for again, whole; what cannot be mended (`again`: the
        same was found last time) is looked at ever more seldom.
        """
        every = min(self.look_every * 2, LONGEST_LOOK) if found and again else LOOK_SECONDS
        return replace(self, whole=self.whole or found, look_every=every, look_at=now + every)

    def pause(self, *, told: float | None, chance: float) -> float:
        """Seconds until the next try after a failure; `told` is the backend's own word. One that says "at once", or a
        date that is over, does not lift the back-off: else a backend in trouble would be asked without a pause.
        """
        own = full_jitter(self.tries, base=BACKOFF_BASE, cap=BACKOFF_CAP, chance=chance)
        if told is None:
            return own
        return told if told >= BACKOFF_BASE else max(told, own)


def poll_pause(interval: float, chance: float) -> float:
    """POLL_INTERVAL ± 10 % (contract, section 3), so that many agents do not ask in step."""
    return interval * (0.9 + 0.2 * chance)
