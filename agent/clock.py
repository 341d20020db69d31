"""Provides time and randomness as one value that is passed in.

Nothing else under agent/ calls time.monotonic, time.time or random: pure modules take `now` as an argument and loops
take a Clock, so that a test controls the time.
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
"""A longer Retry-After is shortened to one hour."""


@dataclass(frozen=True, slots=True)
class Clock:
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that never jump, for every duration."""
    wall: Callable[[], float] = time.time
    """Seconds since 1970, for people and peers only."""
    chance: Callable[[], float] = random.random
    """A number in [0, 1), for jitter."""


def rfc3339(wall: float) -> str:
    """`wall` in the contract's time format: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def full_jitter(attempt: int, *, base: float, cap: float, chance: float) -> float:
    """Seconds to wait before try `attempt + 1`: random between 0 and base · 2^(attempt-1), at most `cap`."""
    ceiling: float = min(cap, base * 2 ** min(attempt - 1, 32))
    return ceiling * chance


def retry_after(header: str | None, wall: float) -> float | None:
    """The seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None if it is neither."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - wall
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
