"""What a repair is, how often each kind may be done, and the ledger of those that were. Pure.

Invariants:
  - Each kind of repair has its bound, or follows a death or a launch, whose bounds are lifecycle's.
  - The ledger has ENTRIES entries at most, and at most one of them is still running: the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Literal

from agent.devserver.repair.memory_limit import MIB
from agent.status import Repair

Kind = Literal["killed", "memory", "cache", "lock", "port", "disk", "watches", "config"]

ENTRIES: Final = 20
LOW_BYTES: Final = 64 * MIB
RUNNING: Final = "running"

BOUNDS: Mapping[Kind, tuple[int, float]] = {
    "memory": (1, 600.0),
    "cache": (1, 600.0),
    "disk": (1, 300.0),
    "lock": (3, 600.0),
    "watches": (1, 3600.0),
    "config": (3, 600.0),
}
"""How often within how many seconds."""


class Cure(Enum):
    """What is done while there is no process."""

    DROP_CACHE = auto()  # the compiler's, of this workspace
    FREE_SPACE = auto()  # that one and the package managers'
    FREE_LOCK = auto()  # end whom we left behind with the lock
    RAISE_WATCHES = auto()


@dataclass(frozen=True, slots=True)
class Disk:
    """The fuller one of the filesystems that are written to. Bytes that are free and in all."""

    free: int
    total: int

    @property
    def full(self) -> bool:
        return self.free < LOW_BYTES

    def __str__(self) -> str:
        return f"the disk is full: {self.free / MIB:,.0f} MiB of {self.total / MIB:,.0f} MiB are free"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock of `.next/dev`. `ours`: a run of an agent on this workspace that nobody looks after."""

    pid: int
    program: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One repair. `how`: recycle = the cheap restart that Next itself offers, where it can be had; start = the process
    is gone, and what it needs is done before the next one.
    """

    kind: Kind
    what: str
    why: str
    cures: tuple[Cure, ...] = ()
    how: Literal["restart", "recycle", "start"] = "restart"
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """`tries`: when each kind was last begun. `treated`: diseases of the cache that had their one try."""

    entries: tuple[Repair, ...] = ()
    total: int = 0
    tries: tuple[tuple[Kind, float], ...] = ()
    treated: tuple[str, ...] = ()

    def count(self, kind: Kind, now: float, within: float) -> int:
        return sum(1 for of, at in self.tries if of == kind and now - at < within)

    def allows(self, plan: Plan, now: float) -> bool:
        times, within = BOUNDS.get(plan.kind, (ENTRIES, 0.0))
        new = plan.signature is None or plan.signature not in self.treated
        return new and self.count(plan.kind, now, within) < times

    def begun(self, plan: Plan, now: float, at: str) -> History:
        """`at`: the same moment for people. One that is still running gave way to this one."""
        before = self.settled(f"did not help: {plan.why}")
        horizon = max(within for _, within in BOUNDS.values())
        tries = tuple((kind, since) for kind, since in self.tries if now - since < horizon)
        treated = self.treated if plan.signature is None else (*self.treated, plan.signature)
        return History(
            entries=(*before.entries, Repair(plan.what, plan.why, at, RUNNING))[-ENTRIES:],
            total=self.total + 1,
            tries=(*tries, (plan.kind, now))[-10 * ENTRIES :],
            treated=treated[-ENTRIES:],
        )

    def settled(self, outcome: str) -> History:
        """The running repair came to its end, if there is one."""
        if not self.entries or self.entries[-1].outcome != RUNNING:
            return self
        return replace(self, entries=(*self.entries[:-1], replace(self.entries[-1], outcome=outcome)))
