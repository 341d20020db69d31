"""Which repair the dev server needs, and why it exited: from what it prints and does, and from what the machine says.

Invariants:
  - A repair needs two signs: one from the process, and one from the machine. The app's code can print anything.
  - A compile error is not a symptom.
  - A problem whose repair `history` does not allow again is only reported (`unresolved`).

Pure. What must not live here: how a repair is done (`controller`), and when a process is started or ended
(`lifecycle`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from agent.devserver.nextjs.log_symptoms import PANIC_SECONDS, Symptoms
from agent.devserver.repair.evidence import ExitEvidence, RunningEvidence
from agent.devserver.repair.history import RepairAction, RepairHistory, RepairPlan
from agent.devserver.repair.memory_limit import MIB, Memory

NEAR_LIMIT: Final = 0.85
"""The share of the memory limit from which on a restart is due, once a visitor would not notice it."""
AT_LIMIT: Final = 0.95
"""The share from which on it is due at once."""
NEAR_SECONDS: Final = 5.0
OWN_SHARE: Final = 0.3
"""The dev server's own part of the limit from which on its restart frees enough. On a developer's machine other
programs fill the memory, and a restart would not help.
"""
QUIET_SECONDS: Final = 3.0
SPIN_SHARE: Final = 0.9
"""The share of all cores that a spinning process uses."""
SPIN_SECONDS: Final = 90.0
"""A warm start needs 4 to 7 s of two cores, and a heavy app's first page 19 s."""
PANICS: Final = 3
RECENT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a process exited, and what to do about it."""

    why: str
    outside: bool = False
    """The cause is outside the app, so starts are tried without a limit."""
    plan: RepairPlan | None = None
    config_error: bool = False
    """The cause is an error in the app's configuration: only a change of its files helps."""


def diagnose_exit(evidence: ExitEvidence, history: RepairHistory, now: float) -> Diagnosis:
    flags = evidence.symptoms.flags
    if evidence.killed and evidence.memory is not None:
        again = history.count("killed", now, RECENT_SECONDS)
        why = f"the kernel killed it at its memory limit ({_mib(evidence.memory.limit)})"
        if again:
            minutes = f"{RECENT_SECONDS / 60:.0f} minutes"
            why += f", {again + 1} times within {minutes}: {_too_small(evidence.memory)}"
        return Diagnosis(why, plan=RepairPlan("killed", "started it again", why, how="start"))
    if "disk_full" in flags and evidence.disk is not None and evidence.disk.full:
        return _with_plan(str(evidence.disk), free_space(str(evidence.disk)), history, now, outside=True)
    if "watch_limit" in flags:
        return _with_plan(f"{evidence.why}: {_WATCHES}", _more_watches(), history, now)
    if "lock_held" in flags:
        return _lock_held(evidence, history, now)
    if "port_taken" in flags:
        return Diagnosis("its port was taken by another program just before it could listen", outside=True)
    if "config_failed" in flags:
        return Diagnosis(_config_error(evidence.symptoms), config_error=True)
    return _with_plan(evidence.why, _new_cache_after(evidence), history, now)


def _with_plan(
    why: str, plan: RepairPlan | None, history: RepairHistory, now: float, *, outside: bool = False
) -> Diagnosis:
    if plan is None or not history.allows(plan, now):
        return Diagnosis(why, outside)
    return Diagnosis(why, outside, replace(plan, how="start"))


def _config_error(symptoms: Symptoms) -> str:
    error = symptoms.config_error or "Next.js does not say why"
    lacks = re.match(r"Cannot find (?:module|package) '(?P<name>[^'./][^']*)'", error)
    todo = f"; add {lacks['name']} to package.json, or remove the import" if lacks else ""
    return f"next.config cannot be loaded: {error}{todo}"


def _lock_held(evidence: ExitEvidence, history: RepairHistory, now: float) -> Diagnosis:
    holder = evidence.holder
    if holder is None:
        return Diagnosis("another dev server holds .next/dev/lock, and cannot be seen from here: end it", outside=True)
    name = f"{holder.program} (pid {holder.pid})"
    if not holder.ours:
        why = f".next/dev/lock is held by {name}, which this agent did not start: end it, or use another WORKSPACE"
        return Diagnosis(why, outside=True)
    why = f".next/dev/lock was still held by {name} of an earlier run"
    plan = RepairPlan("lock", "ended the earlier server", why, (RepairAction.END_LOCK_HOLDER,))
    return _with_plan(why, plan, history, now, outside=True)


def _new_cache_after(evidence: ExitEvidence) -> RepairPlan | None:
    if not evidence.warm:
        return None
    if evidence.symptoms.panics or "cache_unreadable" in evidence.symptoms.flags:
        signature = evidence.symptoms.signature
        return _new_cache(f"it failed with its kept cache: {signature or 'Turbopack panicked'}", signature)
    return _new_cache(f"{evidence.why}, after a start with a kept cache", None) if evidence.unanswered else None


@dataclass(frozen=True, slots=True)
class Sustained:
    """Since when a condition holds that counts only after it has lasted."""

    near_limit: float | None = None
    spinning: float | None = None

    def after(self, evidence: RunningEvidence, now: float) -> Sustained:
        spins = evidence.warm and not evidence.answering and evidence.cpu >= SPIN_SHARE * evidence.cores
        return Sustained(
            near_limit=_since(self.near_limit, now, holds=_is_near_limit(evidence)),
            spinning=_since(self.spinning, now, holds=spins),
        )


def due_repair(
    evidence: RunningEvidence, sustained: Sustained, history: RepairHistory, now: float
) -> RepairPlan | None:
    """The repair that a running process needs now, if its limit allows one."""
    plans = (
        _space(evidence),
        _watches(evidence),
        _cache(evidence, sustained, now),
        _memory(evidence, sustained, now),
        _config(evidence),
    )
    return next((plan for plan in plans if plan is not None and history.allows(plan, now)), None)


def _space(evidence: RunningEvidence) -> RepairPlan | None:
    if "disk_full" not in evidence.symptoms.flags or evidence.disk is None or not evidence.disk.full:
        return None
    return free_space(str(evidence.disk))


def _watches(evidence: RunningEvidence) -> RepairPlan | None:
    return _more_watches() if "watch_limit" in evidence.symptoms.flags else None


def _cache(evidence: RunningEvidence, sustained: Sustained, now: float) -> RepairPlan | None:
    if evidence.symptoms.flags & {"disk_full", "watch_limit"}:
        return None  # Turbopack panics for these too, and a new cache does not help
    recent = [at for at in evidence.symptoms.panics if now - at < PANIC_SECONDS]
    if evidence.warm and len(recent) >= PANICS:
        signature = evidence.symptoms.signature
        return _new_cache(f"Turbopack panicked again and again: {signature or 'no reason given'}", signature)
    if sustained.spinning is not None and now - sustained.spinning >= SPIN_SECONDS:
        return _new_cache(f"it used all cores for {SPIN_SECONDS:.0f} s after a start with a kept cache", None)
    return None


def _memory(evidence: RunningEvidence, sustained: Sustained, now: float) -> RepairPlan | None:
    memory = evidence.memory
    if memory is None or sustained.near_limit is None or now - sustained.near_limit < NEAR_SECONDS:
        return None
    if not evidence.quiet and memory.share < AT_LIMIT:
        return None
    why = f"{memory.share:.0%} of the memory limit of {_mib(memory.limit)} were used"
    return RepairPlan("memory", "restarted it before the kernel would have killed it", why, how="soft restart")


def _config(evidence: RunningEvidence) -> RepairPlan | None:
    if not evidence.config_unseen:
        return None
    return RepairPlan("config", "restarted it", "next.config changed and Next.js missed it")


def unresolved(evidence: RunningEvidence, history: RepairHistory, now: float) -> tuple[str, ...]:
    """The problems that a person has to solve, because no repair is left for them."""
    found = []
    memory = evidence.memory
    if memory is not None and history.count("killed", now, RECENT_SECONDS) > 1:
        found.append(f"the kernel killed the dev server again and again for its memory: {_too_small(memory)}")
    elif memory is not None and _is_near_limit(evidence) and history.count("memory", now, RECENT_SECONDS):
        found.append(f"{memory.share:.0%} of the memory limit are used again after a restart: {_too_small(memory)}")
    if evidence.disk is not None and evidence.disk.full and _needed_space(evidence, history, now):
        found.append(f"{evidence.disk}; delete files of the app, or give the machine a larger disk")
    if "watch_limit" in evidence.symptoms.flags:
        found.append(f"changes of files may go unnoticed: {_WATCHES}")
    if len(evidence.symptoms.panics) >= PANICS and not evidence.symptoms.flags & {"disk_full", "watch_limit"}:
        found.append(f"Turbopack panics again and again: {evidence.symptoms.signature or 'no reason given'}")
    return tuple(found)


def free_space(why: str) -> RepairPlan:
    return RepairPlan("disk", "removed the caches and restarted it", why, (RepairAction.REMOVE_ALL_CACHES,))


def ended_orphans(names: str) -> RepairPlan:
    """An entry for the history only: the launch has ended the processes already."""
    return RepairPlan("port", "ended processes that an earlier run had left", f"{names} was still running", how="start")


_WATCHES = (
    "the system's limit of file watches is reached; "
    "set fs.inotify.max_user_watches=524288 and fs.inotify.max_user_instances=1024 with sysctl on the host"
)


def _more_watches() -> RepairPlan:
    why = "the system's limit of file watches was reached"
    return RepairPlan("watches", "raised the limit and restarted it", why, (RepairAction.RAISE_WATCH_LIMITS,))


def _new_cache(why: str, signature: str | None) -> RepairPlan:
    what = "removed .next/dev/cache and restarted it"
    return RepairPlan("cache", what, why, (RepairAction.REMOVE_CACHE,), signature=signature)


def _is_near_limit(evidence: RunningEvidence) -> bool:
    memory = evidence.memory
    return memory is not None and memory.share >= NEAR_LIMIT and evidence.rss >= OWN_SHARE * memory.limit


def _needed_space(evidence: RunningEvidence, history: RepairHistory, now: float) -> bool:
    return "disk_full" in evidence.symptoms.flags or history.count("disk", now, RECENT_SECONDS) > 0


def _too_small(memory: Memory) -> str:
    size = 1024
    while size * MIB <= memory.limit:
        size *= 2
    return f"the machine is too small for this app, give it {size:,} MiB of memory"


def _mib(amount: int) -> str:
    return f"{amount / MIB:,.0f} MiB"


def _since(since: float | None, now: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now if since is None else since
