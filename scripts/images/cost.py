"""Calculates what the machines cost per month. Pure.

Prices are Fly's of August 2026 in its cheapest regions, in US dollars. A stopped or suspended machine costs its root
filesystem as stored on disk; a started one costs its size, per second.
"""

from __future__ import annotations

from collections.abc import Iterable

ASLEEP_PER_GB = 0.15  # a month of 30 days
SIZE = "shared-cpu-2x, 1 GB"  # what runtime/fly.toml asks for
AWAKE_PER_HOUR = 6.64 / 730
DAYS = 30
HOURS = 24 * DAYS

APPS = (50, 500, 5000)
AWAKE_A_DAY = (0, 1, 8, 24)  # hours


def a_month(disk_bytes: float, apps: int, awake_a_day: float) -> float:
    """Return the dollars per month for `apps` machines that are awake `awake_a_day` hours per day."""
    awake = awake_a_day * DAYS
    asleep = (HOURS - awake) / HOURS
    return apps * (awake * AWAKE_PER_HOUR + asleep * disk_bytes / 1e9 * ASLEEP_PER_GB)


def as_table(disk_bytes: float, apps: Iterable[int] = APPS, awake: Iterable[float] = AWAKE_A_DAY) -> str:
    awake = tuple(awake)
    head = ["apps", *("always asleep" if not hours else f"awake {hours:g} h a day" for hours in awake)]
    rows = [[f"{count:,}", *(f"$ {a_month(disk_bytes, count, hours):,.2f}" for hours in awake)] for count in (1, *apps)]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([*lines, f"a month of {SIZE} at $ {AWAKE_PER_HOUR:.4f} an hour, $ {ASLEEP_PER_GB} a GB asleep"])
