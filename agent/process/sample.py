"""One measurement of what a process tree costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process tree costs. Memory in bytes; `cpu`: cores in use on average since the sample before.

    `demand`: of the main thread that wanted the CPU most, the share of that time in which it ran or waited for its
    turn: 1 for an endless loop, also where other programs or a limit leave it little of a core.
    """

    rss: int = 0
    pss: int | None = None
    cpu: float = 0.0
    processes: int = 0
    demand: float = 0.0
