"""What a repair is, how often each kind may be done, and the repairs that were done. Pure.

Invariants:
  - Each kind of repair has a limit here, or follows an exit or a launch, which lifecycle limits.
  - The history has at most ENTRIES entries. Only the newest one may still be running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Literal

from agent.status import Repair

RepairKind = Literal["killed", "memory", "cache", "lock", "port", "disk", "watches", "config"]

ENTRIES: Final = 20
RUNNING: Final = "running"

LIMITS: Mapping[RepairKind, tuple[int, float]] = {
    "memory": (1, 600.0),
    "cache": (1, 600.0),
    "disk": (1, 300.0),
    "lock": (3, 600.0),
    "watches": (1, 3600.0),
    "config": (3, 600.0),
}
"""How often within how many seconds."""


class RepairAction(Enum):
    """What is done while no dev server runs."""

    REMOVE_CACHE = auto()  # the compiler's, of this workspace
    REMOVE_ALL_CACHES = auto()  # that one and the package managers'
    END_LOCK_HOLDER = auto()  # if an earlier run of an agent left it behind
    RAISE_WATCH_LIMITS = auto()


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """One repair that is due."""

    kind: RepairKind
    what: str
    why: str
    actions: tuple[RepairAction, ...] = ()
    how: Literal["restart", "soft restart", "start"] = "restart"
    """"soft restart": Next's own restart where it is available, else a full one. "start": the process has exited
    already, and the actions are done before the next start.
    """
    signature: str | None = None
    """The kind of failure of the compiler's cache. Each one is tried once."""


@dataclass(frozen=True, slots=True)
class RepairHistory:
    entries: tuple[Repair, ...] = ()
    """The repairs as /status shows them, oldest first."""
    total: int = 0
    started: tuple[tuple[RepairKind, float], ...] = ()
    """When each recent repair was started."""
    signatures: tuple[str, ...] = ()
    """The failures of the compiler's cache whose one repair was done."""

    def count(self, kind: RepairKind, now: float, within: float) -> int:
        return sum(1 for of, at in self.started if of == kind and now - at < within)

    def allows(self, plan: RepairPlan, now: float) -> bool:
        times, within = LIMITS.get(plan.kind, (ENTRIES, 0.0))
        new = plan.signature is None or plan.signature not in self.signatures
        return new and self.count(plan.kind, now, within) < times

    def with_started(self, plan: RepairPlan, now: float, at: str) -> RepairHistory:
        """The history with `plan` running. One that was still running did not help. `at`: `now` for people."""
        before = self.with_outcome(f"did not help: {plan.why}")
        horizon = max(within for _, within in LIMITS.values())
        started = tuple((kind, since) for kind, since in self.started if now - since < horizon)
        signatures = self.signatures if plan.signature is None else (*self.signatures, plan.signature)
        return RepairHistory(
            entries=(*before.entries, Repair(plan.what, plan.why, at, RUNNING))[-ENTRIES:],
            total=self.total + 1,
            started=(*started, (plan.kind, now))[-10 * ENTRIES :],
            signatures=signatures[-ENTRIES:],
        )

    def with_outcome(self, outcome: str) -> RepairHistory:
        """The history after the running repair ended; unchanged if none was running."""
        if not self.entries or self.entries[-1].outcome != RUNNING:
            return self
        return replace(self, entries=(*self.entries[:-1], replace(self.entries[-1], outcome=outcome)))
