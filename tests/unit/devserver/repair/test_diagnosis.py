"""Which repair is due, case by case; and, whatever happens, never too often."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devserver.nextjs.log_symptoms import Symptom, Symptoms
from agent.devserver.repair.diagnosis import (
    AT_LIMIT,
    NEAR_LIMIT,
    NEAR_SECONDS,
    PANICS,
    SPIN_SECONDS,
    Sustained,
    diagnose_exit,
    due_repair,
    unresolved,
)
from agent.devserver.repair.evidence import DiskSpace, ExitEvidence, LockHolder, RunningEvidence
from agent.devserver.repair.history import ENTRIES, LIMITS, RUNNING, RepairAction, RepairHistory, RepairKind, RepairPlan
from agent.devserver.repair.memory_limit import MIB, Memory

MEMORY = Memory(512 * MIB, 100 * MIB, 1)
FULL, ROOMY = DiskSpace(0, 1000 * MIB), DiskSpace(500 * MIB, 1000 * MIB)
WELL = RunningEvidence(answering=True, quiet=True, warm=True, memory=MEMORY, rss=300 * MIB, cores=2, disk=ROOMY)
NEW = RepairHistory()


def said(*flags: Symptom, panics: int = 0, signature: str | None = None) -> Symptoms:
    return Symptoms(frozenset(flags), tuple(float(second) for second in range(panics)), signature)


def used(share: float) -> Memory:
    return replace(MEMORY, used=int(share * MEMORY.limit))


def begun(plan: RepairPlan | None, now: float = 0.0, history: RepairHistory = NEW) -> RepairHistory:
    assert plan is not None
    return history.with_started(plan, now, "2026-11-22T10:00:00.000Z")


def test_a_kill_by_the_kernel_is_called_by_its_name() -> None:
    found = diagnose_exit(ExitEvidence("it exited with status 0", killed=True, memory=MEMORY), NEW, 0.0)

    assert found.why == "the kernel killed it at its memory limit (512 MiB)"
    assert not found.outside
    assert found.plan is not None
    assert (found.plan.kind, found.plan.how, found.plan.actions) == ("killed", "start", ())


def test_a_second_kill_says_how_large_the_machine_must_be() -> None:
    evidence = ExitEvidence("it exited with status 0", killed=True, memory=MEMORY)
    history = begun(diagnose_exit(evidence, NEW, 0.0).plan)
    found = diagnose_exit(evidence, history, 60.0)
    history = begun(found.plan, 60.0, history)

    assert found.why == (
        "the kernel killed it at its memory limit (512 MiB), 2 times within 10 minutes: "
        "the machine is too small for this app, give it 1,024 MiB of memory"
    )
    assert unresolved(WELL, history, 61.0) == (
        (
            "the kernel killed the dev server again and again for its memory: "
            "the machine is too small for this app, give it 1,024 MiB of memory"
        ),
    )
    assert unresolved(WELL, history, 661.0) == ()


@pytest.mark.parametrize(
    ("evidence", "outside", "actions"),
    [
        (ExitEvidence("", said("disk_full"), disk=FULL), True, (RepairAction.REMOVE_ALL_CACHES,)),
        (ExitEvidence("", said("disk_full"), disk=ROOMY), False, None),
        (ExitEvidence("", said("disk_full", panics=9), warm=True, disk=FULL), True, (RepairAction.REMOVE_ALL_CACHES,)),
        (ExitEvidence("", said("watch_limit")), False, (RepairAction.RAISE_WATCH_LIMITS,)),
        (
            ExitEvidence("", said("lock_held"), holder=LockHolder(7, "node", ours=True)),
            True,
            (RepairAction.END_LOCK_HOLDER,),
        ),
        (ExitEvidence("", said("lock_held"), holder=LockHolder(7, "node", ours=False)), True, None),
        (ExitEvidence("", said("lock_held")), True, None),
        (ExitEvidence("", said("port_taken")), True, None),
        (ExitEvidence("", said("cache_unreadable"), warm=True), False, (RepairAction.REMOVE_CACHE,)),
        (ExitEvidence("", said("cache_unreadable"), warm=False), False, None),
        (ExitEvidence("", said(panics=1), warm=True), False, (RepairAction.REMOVE_CACHE,)),
        (ExitEvidence("", said(panics=1), warm=False), False, None),
        (ExitEvidence("", warm=True, unanswered=True), False, (RepairAction.REMOVE_CACHE,)),
        (ExitEvidence("", warm=False, unanswered=True), False, None),
        (ExitEvidence("", warm=True), False, None),
    ],
)
def test_a_death_has_its_cure_where_the_machine_bears_out_what_was_said(
    *, evidence: ExitEvidence, outside: bool, actions: tuple[RepairAction, ...] | None
) -> None:
    found = diagnose_exit(evidence, NEW, 0.0)

    assert (found.outside, found.plan and found.plan.actions) == (outside, actions)


def test_a_stranger_with_the_lock_is_named() -> None:
    found = diagnose_exit(ExitEvidence("", said("lock_held"), holder=LockHolder(7, "node", ours=False)), NEW, 0.0)

    assert found.why == (
        ".next/dev/lock is held by node (pid 7), which this agent did not start: end it, or use another WORKSPACE"
    )


def test_a_disease_of_the_cache_is_treated_once() -> None:
    evidence = ExitEvidence("", said(panics=1, signature="a.rs:#"), warm=True)
    history = begun(diagnose_exit(evidence, NEW, 0.0).plan)
    _, within = LIMITS["cache"]

    assert diagnose_exit(evidence, history, 10 * within).plan is None
    assert (
        diagnose_exit(replace(evidence, symptoms=said(panics=1, signature="b.rs:#")), history, within - 1).plan is None
    )
    assert (
        diagnose_exit(replace(evidence, symptoms=said(panics=1, signature="b.rs:#")), history, within).plan is not None
    )


@pytest.mark.parametrize(
    ("share", "quiet", "seconds", "due"),
    [
        (NEAR_LIMIT, True, NEAR_SECONDS, True),
        (NEAR_LIMIT, True, NEAR_SECONDS - 1, False),
        (NEAR_LIMIT, False, 10 * NEAR_SECONDS, False),
        (AT_LIMIT + 0.01, False, NEAR_SECONDS, True),
        (NEAR_LIMIT - 0.01, True, 10 * NEAR_SECONDS, False),
    ],
)
def test_memory_is_given_back_in_a_quiet_second_or_at_the_hard_line(
    *, share: float, quiet: bool, seconds: float, due: bool
) -> None:
    evidence = replace(WELL, memory=used(share + 0.001), quiet=quiet)
    sustained = Sustained().after(evidence, 0.0).after(evidence, seconds)
    plan = due_repair(evidence, sustained, NEW, seconds)

    assert (plan is not None) == due
    assert plan is None or (plan.kind, plan.how, plan.actions) == ("memory", "soft restart", ())


def test_memory_that_others_have_taken_is_no_reason_to_restart() -> None:
    evidence = replace(WELL, memory=used(0.9), rss=50 * MIB)

    assert due_repair(evidence, Sustained().after(evidence, 0.0), NEW, 60.0) is None


def test_memory_that_is_near_its_limit_again_is_told() -> None:
    evidence = replace(WELL, memory=used(0.9))
    sustained = Sustained(near_limit=0.0)
    history = begun(due_repair(evidence, sustained, NEW, 60.0), 60.0)

    assert due_repair(evidence, sustained, history, 120.0) is None
    assert unresolved(evidence, history, 120.0) == (
        (
            "90% of the memory limit are used again after a restart: "
            "the machine is too small for this app, give it 1,024 MiB of memory"
        ),
    )


def test_a_process_that_spins_after_a_warm_start_gets_a_new_cache() -> None:
    spins = replace(WELL, answering=False, cpu=1.9)
    sustained = Sustained().after(spins, 0.0)
    late = due_repair(spins, sustained.after(spins, SPIN_SECONDS), NEW, SPIN_SECONDS)

    assert due_repair(spins, sustained, NEW, SPIN_SECONDS - 1) is None
    assert late is not None
    assert late.actions == (RepairAction.REMOVE_CACHE,)


@pytest.mark.parametrize("calm", [{"warm": False}, {"answering": True}, {"cpu": 1.0}])
def test_one_that_works_hard_for_another_reason_is_left_to_it(calm: dict[str, bool | float]) -> None:
    evidence = replace(WELL, **({"answering": False, "cpu": 1.9} | calm))  # type: ignore[arg-type]

    assert Sustained(spinning=0.0).after(evidence, 1.0).spinning is None


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (replace(WELL, symptoms=said(panics=PANICS)), "cache"),
        (replace(WELL, symptoms=said(panics=PANICS - 1)), None),
        (replace(WELL, symptoms=said(panics=PANICS), warm=False), None),
        (replace(WELL, symptoms=said("disk_full", panics=PANICS)), None),
        (replace(WELL, symptoms=said("disk_full", panics=PANICS), disk=FULL), "disk"),
        (replace(WELL, disk=FULL), None),
        (replace(WELL, symptoms=said("watch_limit", panics=PANICS)), "watches"),
        (WELL, None),
    ],
)
def test_a_living_process_is_repaired_for_what_it_says_and_the_machine_bears_out(
    evidence: RunningEvidence, kind: RepairKind | None
) -> None:
    plan = due_repair(evidence, Sustained(), NEW, float(PANICS))

    assert (plan and plan.kind) == kind


def test_a_full_disk_and_a_lack_of_watches_say_what_to_do() -> None:
    evidence = replace(WELL, symptoms=said("disk_full", "watch_limit"), disk=FULL)

    assert unresolved(evidence, NEW, 0.0) == (
        "the disk is full: 0 MiB of 1,000 MiB are free; delete files of the app, or give the machine a larger disk",
        (
            "changes of files may go unnoticed: the system's limit of file watches is reached; "
            "set fs.inotify.max_user_watches=524288 and fs.inotify.max_user_instances=1024 with sysctl on the host"
        ),
    )


SYMPTOMS = st.builds(
    Symptoms,
    st.frozensets(st.sampled_from(["disk_full", "watch_limit", "lock_held", "port_taken", "cache_unreadable"])),
    st.lists(st.floats(0, 1e5), max_size=10).map(tuple),
    st.none() | st.text(max_size=3),
)
SIZES = st.integers(1, 2000 * MIB)
MEMORIES = st.none() | st.builds(Memory, SIZES, SIZES, st.none())
DISKS = st.none() | st.builds(DiskSpace, SIZES, SIZES)
RUNNING_EVIDENCE = st.builds(
    RunningEvidence,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    SYMPTOMS,
    MEMORIES,
    SIZES,
    st.floats(0, 8),
    st.just(2),
    DISKS,
)
HOLDERS = st.none() | st.builds(LockHolder, st.just(7), st.just("node"), st.booleans())
EXIT_EVIDENCE = st.builds(
    ExitEvidence, st.text(), SYMPTOMS, st.booleans(), st.booleans(), st.booleans(), MEMORIES, DISKS, HOLDERS
)
MOMENTS = st.tuples(
    st.one_of(RUNNING_EVIDENCE, EXIT_EVIDENCE, st.just("ready")), st.sampled_from([0.0, 0.5, 5.0, 60.0, 700.0])
)


@settings(max_examples=300)
@given(st.lists(MOMENTS, max_size=120))
def test_whatever_happens_no_repair_comes_more_often_than_its_bound_and_the_ledger_stays_small(
    moments: list[tuple[RunningEvidence | ExitEvidence | str, float]],
) -> None:
    now, history, sustained = 0.0, NEW, Sustained()
    done: dict[RepairKind, list[float]] = {}
    for moment, pause in moments:
        now += pause
        plan = None
        if isinstance(moment, RunningEvidence):
            sustained = sustained.after(moment, now)
            plan = due_repair(moment, sustained, history, now)
            unresolved(moment, history, now)
        elif isinstance(moment, ExitEvidence):
            plan = diagnose_exit(moment, history, now).plan
        else:
            history = history.with_outcome("ready after 1.0 s")
        if plan is not None:
            history = begun(plan, now, history)
            done.setdefault(plan.kind, []).append(now)

        assert len(history.entries) <= ENTRIES
        assert all(entry.outcome != RUNNING for entry in history.entries[:-1])
        assert len(history.signatures) <= ENTRIES
        for kind, (times, within) in LIMITS.items():
            assert sum(1 for at in done.get(kind, []) if now - at < within) <= times
    assert history.total == sum(len(times) for times in done.values())


def test_a_repair_that_another_one_follows_did_not_help() -> None:
    first = RepairPlan("memory", "restarted it", "it was full")
    history = begun(first).with_outcome("ready after 3.1 s")
    history = begun(replace(first, kind="cache", why="it panicked"), 1.0, begun(first, 0.5, history))

    assert [entry.outcome for entry in history.entries] == [
        "ready after 3.1 s",
        "did not help: it panicked",
        RUNNING,
    ]


def test_a_configuration_that_was_missed_is_read_by_a_new_process() -> None:
    plan = due_repair(replace(WELL, config_unseen=True), Sustained(), NEW, 0.0)
    assert plan is not None
    assert (plan.kind, plan.how, plan.actions) == ("config", "restart", ())
    assert due_repair(WELL, Sustained(), NEW, 0.0) is None
