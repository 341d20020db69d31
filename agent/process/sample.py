"""One measurement of what a process tree costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process tree costs. Memory in bytes; `cpu`: cores in use on average since the sample before."""

    rss: int = 0
    pss: int | None = None
    cpu: float = 0.0
    processes: int = 0
