"""Which repair the dev server needs: out of what it says and does, and of what the machine says. Pure.

Invariants:
  - A repair needs two signs: what the process says or does, and what the machine says. User code can print anything.
  - A compile error is no symptom of anything.
  - What is needed beyond the bounds (`treatment`) is only told.

What must not live here: how a repair is done (`mender`), and when a process is started or ended (`lifecycle`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from agent.devserver.nextjs.log_symptoms import PANIC_SECONDS, Symptoms
from agent.devserver.repair.history import Cure, Disk, History, Holder, Plan
from agent.devserver.repair.memory_limit import MIB, Memory

NEAR: Final = 0.85
HARD: Final = 0.95
NEAR_SECONDS: Final = 5.0
WORTH: Final = 0.3
"""The dev server's part of the limit from which on its restart gives something back. On a developer's own machine it is
other programs that fill the memory, and a restart would be for nothing.
"""
QUIET_SECONDS: Final = 3.0
SPIN: Final = 0.9
SPIN_SECONDS: Final = 90.0  # a warm start needs 4 to 7 s of two cores, and a heavy app's first page 19 s
PANICS: Final = 3
RECENT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without being asked. `killed`: by the kernel, for memory. `warm`: it had found a cache.
    `unanswered`: it had to be ended, since it did not answer.
    """

    why: str
    symptoms: Symptoms = field(default_factory=Symptoms)
    killed: bool = False
    warm: bool = False
    unanswered: bool = False
    memory: Memory | None = None
    disk: Disk | None = None
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` it died. `outside`: nothing of the app's is at fault, so it is tried again for as long as it takes.
    `known`: an error in the app's configuration is, so that only a change of files helps.
    """

    why: str
    outside: bool = False
    plan: Plan | None = None
    known: bool = False


def after_death(death: Death, history: History, now: float) -> Verdict:
    flags = death.symptoms.flags
    if death.killed and death.memory is not None:
        again = history.count("killed", now, RECENT_SECONDS)
        why = f"the kernel killed it at its memory limit ({_mib(death.memory.limit)})"
        why += f", {again + 1} times within {RECENT_SECONDS / 60:.0f} minutes: {_too_small(death.memory)}" * bool(again)
        return Verdict(why, plan=Plan("killed", "started it again", why, how="start"))
    if "disk_full" in flags and death.disk is not None and death.disk.full:
        return _treat(str(death.disk), _free_space(str(death.disk)), history, now, outside=True)
    if "watch_limit" in flags:
        return _treat(f"{death.why}: {_WATCHES}", _more_watches(), history, now)
    if "lock_held" in flags:
        return _after_lock(death, history, now)
    if "port_taken" in flags:
        return Verdict("its port was taken by another program just before it could listen", outside=True)
    if "config_failed" in flags:
        return Verdict(_config_error(death.symptoms), known=True)
    return _treat(death.why, _new_cache_after(death), history, now)


def _config_error(symptoms: Symptoms) -> str:
    error = symptoms.config_error or "Next.js does not say why"
    lacks = re.match(r"Cannot find (?:module|package) '(?P<name>[^'./][^']*)'", error)
    todo = f"; add {lacks['name']} to package.json, or import it no more" if lacks else ""
    return f"next.config cannot be loaded: {error}{todo}"


def _treat(why: str, plan: Plan | None, history: History, now: float, *, outside: bool = False) -> Verdict:
    if plan is None or not history.allows(plan, now):
        return Verdict(why, outside)
    return Verdict(why, outside, replace(plan, how="start"))


def _after_lock(death: Death, history: History, now: float) -> Verdict:
    holder = death.holder
    if holder is None:
        return Verdict("another dev server holds .next/dev/lock, and cannot be seen from here: end it", outside=True)
    who = f"{holder.program} (pid {holder.pid})"
    if not holder.ours:
        why = f".next/dev/lock is held by {who}, which this agent did not start: end it, or use another WORKSPACE"
        return Verdict(why, outside=True)
    why = f".next/dev/lock was still held by {who} of an earlier run"
    return _treat(why, Plan("lock", "ended the earlier server", why, (Cure.FREE_LOCK,)), history, now, outside=True)


def _new_cache_after(death: Death) -> Plan | None:
    if not death.warm:
        return None
    if death.symptoms.panics or "cache_unreadable" in death.symptoms.flags:
        signature = death.symptoms.signature
        return _new_cache(f"it died with its cache: {signature or 'Turbopack panicked'}", signature)
    return _new_cache(f"{death.why}, after a start with a kept cache", None) if death.unanswered else None


@dataclass(frozen=True, slots=True)
class Look:
    """A living process. `rss`: bytes of its whole tree, `cpu`: cores it uses, of `cores`. `quiet`: nothing compiles
    and nobody asked for anything for QUIET_SECONDS. `config_unseen`: it runs with what next.config said before.
    """

    answering: bool
    quiet: bool
    warm: bool = False
    symptoms: Symptoms = field(default_factory=Symptoms)
    memory: Memory | None = None
    rss: int = 0
    cpu: float = 0.0
    cores: int = 1
    disk: Disk | None = None
    config_unseen: bool = False

    @property
    def near(self) -> bool:
        memory = self.memory
        return memory is not None and memory.share >= NEAR and self.rss >= WORTH * memory.limit


@dataclass(frozen=True, slots=True)
class Vigil:
    """Since when something lasts that must last before it counts."""

    near_since: float | None = None
    spinning_since: float | None = None

    def after(self, look: Look, now: float) -> Vigil:
        spins = look.warm and not look.answering and look.cpu >= SPIN * look.cores
        return Vigil(
            near_since=_since(self.near_since, now, holds=look.near),
            spinning_since=_since(self.spinning_since, now, holds=spins),
        )


def while_alive(look: Look, vigil: Vigil, history: History, now: float) -> Plan | None:
    """What a living process needs now and may have."""
    wanted = (_space(look), _watches(look), _cache(look, vigil, now), _memory(look, vigil, now), _config(look))
    return next((plan for plan in wanted if plan is not None and history.allows(plan, now)), None)


def _space(look: Look) -> Plan | None:
    if "disk_full" not in look.symptoms.flags or look.disk is None or not look.disk.full:
        return None
    return _free_space(str(look.disk))


def _watches(look: Look) -> Plan | None:
    return _more_watches() if "watch_limit" in look.symptoms.flags else None


def _cache(look: Look, vigil: Vigil, now: float) -> Plan | None:
    if look.symptoms.flags & {"disk_full", "watch_limit"}:
        return None  # Turbopack panics for these too, and no new cache helps
    recent = [at for at in look.symptoms.panics if now - at < PANIC_SECONDS]
    if look.warm and len(recent) >= PANICS:
        signature = look.symptoms.signature
        return _new_cache(f"Turbopack panicked again and again: {signature or 'no reason given'}", signature)
    if vigil.spinning_since is not None and now - vigil.spinning_since >= SPIN_SECONDS:
        return _new_cache(f"it used all cores for {SPIN_SECONDS:.0f} s after a start with a kept cache", None)
    return None


def _memory(look: Look, vigil: Vigil, now: float) -> Plan | None:
    memory = look.memory
    if memory is None or vigil.near_since is None or now - vigil.near_since < NEAR_SECONDS:
        return None
    if not look.quiet and memory.share < HARD:
        return None
    why = f"{memory.share:.0%} of the memory limit of {_mib(memory.limit)} were used"
    return Plan("memory", "restarted it before the kernel would have killed it", why, how="recycle")


def _config(look: Look) -> Plan | None:
    return Plan("config", "restarted it", "next.config changed and Next.js missed it") if look.config_unseen else None


def complaints(look: Look, history: History, now: float) -> tuple[str, ...]:
    """What a person has to do, since it cannot be repaired from in here."""
    found = []
    memory = look.memory
    if memory is not None and history.count("killed", now, RECENT_SECONDS) > 1:
        found.append(f"the kernel killed the dev server again and again for its memory: {_too_small(memory)}")
    elif memory is not None and look.near and history.count("memory", now, RECENT_SECONDS):
        found.append(f"{memory.share:.0%} of the memory limit are used again after a restart: {_too_small(memory)}")
    if look.disk is not None and look.disk.full and _is_or_was(look, history, now):
        found.append(f"{look.disk}; delete files of the app, or give the machine a larger disk")
    if "watch_limit" in look.symptoms.flags:
        found.append(f"changes of files may go unnoticed: {_WATCHES}")
    if len(look.symptoms.panics) >= PANICS and not look.symptoms.flags & {"disk_full", "watch_limit"}:
        found.append(f"Turbopack panics again and again: {look.symptoms.signature or 'no reason given'}")
    return tuple(found)


def asked_for_space(why: str) -> Plan:
    return _free_space(why)


def ended_orphans(who: str) -> Plan:
    """For the ledger: it has been done already, by the launch."""
    return Plan("port", "ended what an earlier run had left", f"{who} was still running", how="start")


_WATCHES = (
    "the system's limit of file watches is reached; "
    "set fs.inotify.max_user_watches=524288 and fs.inotify.max_user_instances=1024 with sysctl on the host"
)


def _free_space(why: str) -> Plan:
    return Plan("disk", "removed the caches and restarted it", why, (Cure.FREE_SPACE,))


def _more_watches() -> Plan:
    why = "the system's limit of file watches was reached"
    return Plan("watches", "raised the limit and restarted it", why, (Cure.RAISE_WATCHES,))


def _new_cache(why: str, signature: str | None) -> Plan:
    return Plan("cache", "removed .next/dev/cache and restarted it", why, (Cure.DROP_CACHE,), signature=signature)


def _is_or_was(look: Look, history: History, now: float) -> bool:
    return "disk_full" in look.symptoms.flags or history.count("disk", now, RECENT_SECONDS) > 0


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
