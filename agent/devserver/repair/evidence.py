"""What a diagnosis is made from: facts about a process that exited or runs, its disk and Next's lock file. Pure.

`controller` gathers these, `diagnosis` decides from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.devserver.nextjs.log_symptoms import Symptoms
from agent.devserver.repair.memory_limit import MIB, Memory

LOW_BYTES: Final = 64 * MIB


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Bytes of the fuller one of the filesystems that the dev server writes to."""

    free: int
    total: int

    @property
    def full(self) -> bool:
        return self.free < LOW_BYTES

    def __str__(self) -> str:
        return f"the disk is full: {self.free / MIB:,.0f} MiB of {self.total / MIB:,.0f} MiB are free"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that holds the lock of `.next/dev`."""

    pid: int
    program: str
    ours: bool
    """It was left behind by an earlier run of an agent on this workspace."""


@dataclass(frozen=True, slots=True)
class ExitEvidence:
    """A process that exited without being asked to, or that was ended because it failed."""

    why: str
    symptoms: Symptoms = field(default_factory=Symptoms)
    killed: bool = False
    """The kernel killed it for memory."""
    warm: bool = False
    """It started with a compiler cache on disk."""
    unanswered: bool = False
    """It was ended because it did not answer, and it had never been ready."""
    memory: Memory | None = None
    disk: DiskSpace | None = None
    holder: LockHolder | None = None


@dataclass(frozen=True, slots=True)
class RunningEvidence:
    """A process that runs."""

    answering: bool
    quiet: bool
    """Nothing compiled and no page was requested for `diagnosis.QUIET_SECONDS`."""
    warm: bool = False
    """It started with a compiler cache on disk."""
    symptoms: Symptoms = field(default_factory=Symptoms)
    memory: Memory | None = None
    rss: int = 0
    """Bytes of its whole process tree."""
    cpu: float = 0.0
    """Cores that it uses, of `cores`."""
    cores: int = 1
    disk: DiskSpace | None = None
    config_unseen: bool = False
    """It runs with an older next.config than the one on disk."""
