"""Time and chance, as one value that is handed in.

Nothing else under agent/ calls time.monotonic, time.time or random: the deciding modules take `now` as an
argument and the loops take a Clock, so that a test can say what time it is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """monotonic: seconds that never jump, for every duration. wall: seconds since 1970, for people and peers only.
    chance: a number in [0, 1), for jitter.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


def rfc3339(wall: float) -> str:
    """`wall` as the contract writes times: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def full_jitter(attempt: int, *, base: float, cap: float, chance: float) -> float:
    """Seconds to wait before try number `attempt + 1`: anywhere from 0 to base · 2^(attempt-1), and never over cap."""
    ceiling: float = min(cap, base * 2 ** min(attempt - 1, 32))
    return ceiling * chance
