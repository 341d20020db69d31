"""Time and chance, as one value that is handed in.

Nothing else under agent/ calls time.monotonic, time.time or random: the deciding modules take `now` as an
argument and the loops take a Clock, so that a test can say what time it is.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3_600.0
"""A peer that asks for more than an hour is asked again after one."""


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


def retry_after(header: str | None, wall: float) -> float | None:
    """Seconds from `wall` on that a Retry-After names, as a number or a date (RFC 9110, 10.2.3); None for all else."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - wall
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
