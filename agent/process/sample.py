"""One measurement of a process tree's memory and CPU use. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    rss: int = 0
    """Bytes."""
    pss: int | None = None
    """Bytes."""
    cpu: float = 0.0
    """Cores used, on average since the previous sample."""
    processes: int = 0
    demand: float = 0.0
    """The share of that time in which the busiest main thread ran or waited for a CPU: 1 for an endless loop, even if
    other programs or a limit leave it little of a core.
    """
