"""Whether this machine stood still between two looks at its clocks.

Pure. Three things are alike to whoever is inside, and leave the same dead connections behind:
  - a snapshot that was resumed: no clock went on; the wall clock jumps once the network tells it the time,
  - a laptop that slept: the monotonic clock stood, the wall clock went on,
  - a stopped process or a host that gave no time: both went on, and the look came far too late.
"""

from __future__ import annotations

from dataclasses import dataclass

JUMP_SECONDS = 5.0
"""The wall clock against the monotonic one. A clock that is slewed gains some milliseconds between two looks."""

LATE_SECONDS = 5.0
"""Beyond when the look was due. A busy machine with a sixteenth of a core is late by one or two."""


@dataclass(frozen=True, slots=True)
class Look:
    """Both clocks at one moment, in seconds."""

    wall: float
    monotonic: float


def stood_still(before: Look, now: Look, *, due_after: float) -> float:
    """For how many seconds, at least; 0.0 when it did not. `due_after`: when the second look was to come."""
    passed = now.monotonic - before.monotonic
    jump = now.wall - before.wall - passed
    late = passed - due_after
    return max(jump if jump > JUMP_SECONDS else 0.0, late if late > LATE_SECONDS else 0.0)
