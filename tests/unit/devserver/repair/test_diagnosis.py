"""Which repair is due, case by case; and, whatever happens, never too often."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devserver.nextjs.log_symptoms import Flag, Symptoms
from agent.devserver.repair.diagnosis import (
    HARD,
    NEAR,
    NEAR_SECONDS,
    PANICS,
    SPIN_SECONDS,
    Death,
    Look,
    Vigil,
    after_death,
    complaints,
    while_alive,
)
from agent.devserver.repair.history import BOUNDS, ENTRIES, RUNNING, Cure, Disk, History, Holder, Kind, Plan
from agent.devserver.repair.memory_limit import MIB, Memory

MEMORY = Memory(512 * MIB, 100 * MIB, "the machine", 1)
FULL, ROOMY = Disk(0, 1000 * MIB), Disk(500 * MIB, 1000 * MIB)
WELL = Look(answering=True, quiet=True, warm=True, memory=MEMORY, rss=300 * MIB, cores=2, disk=ROOMY)
NEW = History()


def said(*flags: Flag, panics: int = 0, signature: str | None = None) -> Symptoms:
    return Symptoms(frozenset(flags), tuple(float(second) for second in range(panics)), signature)


def used(share: float) -> Memory:
    return replace(MEMORY, used=int(share * MEMORY.limit))


def begun(plan: Plan | None, now: float = 0.0, history: History = NEW) -> History:
    assert plan is not None
    return history.begun(plan, now, "2026-11-22T10:00:00.000Z")


def test_a_kill_by_the_kernel_is_called_by_its_name() -> None:
    verdict = after_death(Death("it exited with status 0", killed=True, memory=MEMORY), NEW, 0.0)

    assert verdict.why == "the kernel killed it at its memory limit (512 MiB)"
    assert not verdict.outside
    assert verdict.plan is not None
    assert (verdict.plan.kind, verdict.plan.how, verdict.plan.cures) == ("killed", "start", ())


def test_a_second_kill_says_how_large_the_machine_must_be() -> None:
    death = Death("it exited with status 0", killed=True, memory=MEMORY)
    history = begun(after_death(death, NEW, 0.0).plan)
    verdict = after_death(death, history, 60.0)
    history = begun(verdict.plan, 60.0, history)

    assert verdict.why == (
        "the kernel killed it at its memory limit (512 MiB), 2 times within 10 minutes: "
        "the machine is too small for this app, give it 1,024 MiB of memory"
    )
    assert complaints(WELL, history, 61.0) == (
        (
            "the kernel killed the dev server again and again for its memory: "
            "the machine is too small for this app, give it 1,024 MiB of memory"
        ),
    )
    assert complaints(WELL, history, 661.0) == ()


@pytest.mark.parametrize(
    ("death", "outside", "cures"),
    [
        (Death("", said("disk_full"), disk=FULL), True, (Cure.FREE_SPACE,)),
        (Death("", said("disk_full"), disk=ROOMY), False, None),
        (Death("", said("disk_full", panics=9), warm=True, disk=FULL), True, (Cure.FREE_SPACE,)),
        (Death("", said("watch_limit")), False, (Cure.RAISE_WATCHES,)),
        (Death("", said("lock_held"), holder=Holder(7, "node", ours=True)), True, (Cure.FREE_LOCK,)),
        (Death("", said("lock_held"), holder=Holder(7, "node", ours=False)), True, None),
        (Death("", said("lock_held")), True, None),
        (Death("", said("port_taken")), True, None),
        (Death("", said("cache_unreadable"), warm=True), False, (Cure.DROP_CACHE,)),
        (Death("", said("cache_unreadable"), warm=False), False, None),
        (Death("", said(panics=1), warm=True), False, (Cure.DROP_CACHE,)),
        (Death("", said(panics=1), warm=False), False, None),
        (Death("", warm=True, unanswered=True), False, (Cure.DROP_CACHE,)),
        (Death("", warm=False, unanswered=True), False, None),
        (Death("", warm=True), False, None),
    ],
)
def test_a_death_has_its_cure_where_the_machine_bears_out_what_was_said(
    *, death: Death, outside: bool, cures: tuple[Cure, ...] | None
) -> None:
    verdict = after_death(death, NEW, 0.0)

    assert (verdict.outside, verdict.plan and verdict.plan.cures) == (outside, cures)


def test_a_stranger_with_the_lock_is_named() -> None:
    verdict = after_death(Death("", said("lock_held"), holder=Holder(7, "node", ours=False)), NEW, 0.0)

    assert verdict.why == (
        ".next/dev/lock is held by node (pid 7), which this agent did not start: end it, or use another WORKSPACE"
    )


def test_a_disease_of_the_cache_is_treated_once() -> None:
    death = Death("", said(panics=1, signature="a.rs:#"), warm=True)
    history = begun(after_death(death, NEW, 0.0).plan)
    _, within = BOUNDS["cache"]

    assert after_death(death, history, 10 * within).plan is None
    assert after_death(replace(death, symptoms=said(panics=1, signature="b.rs:#")), history, within - 1).plan is None
    assert after_death(replace(death, symptoms=said(panics=1, signature="b.rs:#")), history, within).plan is not None


@pytest.mark.parametrize(
    ("share", "quiet", "seconds", "due"),
    [
        (NEAR, True, NEAR_SECONDS, True),
        (NEAR, True, NEAR_SECONDS - 1, False),
        (NEAR, False, 10 * NEAR_SECONDS, False),
        (HARD + 0.01, False, NEAR_SECONDS, True),
        (NEAR - 0.01, True, 10 * NEAR_SECONDS, False),
    ],
)
def test_memory_is_given_back_in_a_quiet_second_or_at_the_hard_line(
    *, share: float, quiet: bool, seconds: float, due: bool
) -> None:
    look = replace(WELL, memory=used(share + 0.001), quiet=quiet)
    vigil = Vigil().after(look, 0.0).after(look, seconds)
    plan = while_alive(look, vigil, NEW, seconds)

    assert (plan is not None) == due
    assert plan is None or (plan.kind, plan.how, plan.cures) == ("memory", "recycle", ())


def test_memory_that_others_have_taken_is_no_reason_to_restart() -> None:
    look = replace(WELL, memory=used(0.9), rss=50 * MIB)

    assert while_alive(look, Vigil().after(look, 0.0), NEW, 60.0) is None


def test_memory_that_is_near_its_limit_again_is_told() -> None:
    look = replace(WELL, memory=used(0.9))
    vigil = Vigil(near_since=0.0)
    history = begun(while_alive(look, vigil, NEW, 60.0), 60.0)

    assert while_alive(look, vigil, history, 120.0) is None
    assert complaints(look, history, 120.0) == (
        (
            "90% of the memory limit are used again after a restart: "
            "the machine is too small for this app, give it 1,024 MiB of memory"
        ),
    )


def test_a_process_that_spins_after_a_warm_start_gets_a_new_cache() -> None:
    spins = replace(WELL, answering=False, cpu=1.9)
    vigil = Vigil().after(spins, 0.0)
    late = while_alive(spins, vigil.after(spins, SPIN_SECONDS), NEW, SPIN_SECONDS)

    assert while_alive(spins, vigil, NEW, SPIN_SECONDS - 1) is None
    assert late is not None
    assert late.cures == (Cure.DROP_CACHE,)


@pytest.mark.parametrize("calm", [{"warm": False}, {"answering": True}, {"cpu": 1.0}])
def test_one_that_works_hard_for_another_reason_is_left_to_it(calm: dict[str, bool | float]) -> None:
    look = replace(WELL, **({"answering": False, "cpu": 1.9} | calm))  # type: ignore[arg-type]

    assert Vigil(spinning_since=0.0).after(look, 1.0).spinning_since is None


@pytest.mark.parametrize(
    ("look", "kind"),
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
def test_a_living_process_is_repaired_for_what_it_says_and_the_machine_bears_out(look: Look, kind: Kind | None) -> None:
    plan = while_alive(look, Vigil(), NEW, float(PANICS))

    assert (plan and plan.kind) == kind


def test_a_full_disk_and_a_lack_of_watches_say_what_to_do() -> None:
    look = replace(WELL, symptoms=said("disk_full", "watch_limit"), disk=FULL)

    assert complaints(look, NEW, 0.0) == (
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
MEMORIES = st.none() | st.builds(Memory, SIZES, SIZES, st.just("x"), st.none())
DISKS = st.none() | st.builds(Disk, SIZES, SIZES)
LOOKS = st.builds(
    Look, st.booleans(), st.booleans(), st.booleans(), SYMPTOMS, MEMORIES, SIZES, st.floats(0, 8), st.just(2), DISKS
)
HOLDERS = st.none() | st.builds(Holder, st.just(7), st.just("node"), st.booleans())
DEATHS = st.builds(Death, st.text(), SYMPTOMS, st.booleans(), st.booleans(), st.booleans(), MEMORIES, DISKS, HOLDERS)
MOMENTS = st.tuples(st.one_of(LOOKS, DEATHS, st.just("ready")), st.sampled_from([0.0, 0.5, 5.0, 60.0, 700.0]))


@settings(max_examples=300)
@given(st.lists(MOMENTS, max_size=120))
def test_whatever_happens_no_repair_comes_more_often_than_its_bound_and_the_ledger_stays_small(
    moments: list[tuple[Look | Death | str, float]],
) -> None:
    now, history, vigil = 0.0, NEW, Vigil()
    done: dict[Kind, list[float]] = {}
    for moment, pause in moments:
        now += pause
        plan = None
        if isinstance(moment, Look):
            vigil = vigil.after(moment, now)
            plan = while_alive(moment, vigil, history, now)
            complaints(moment, history, now)
        elif isinstance(moment, Death):
            plan = after_death(moment, history, now).plan
        else:
            history = history.settled("ready after 1.0 s")
        if plan is not None:
            history = begun(plan, now, history)
            done.setdefault(plan.kind, []).append(now)

        assert len(history.entries) <= ENTRIES
        assert all(entry.outcome != RUNNING for entry in history.entries[:-1])
        assert len(history.treated) <= ENTRIES
        for kind, (times, within) in BOUNDS.items():
            assert sum(1 for at in done.get(kind, []) if now - at < within) <= times
    assert history.total == sum(len(times) for times in done.values())


def test_a_repair_that_another_one_follows_did_not_help() -> None:
    first = Plan("memory", "restarted it", "it was full")
    history = begun(first).settled("ready after 3.1 s")
    history = begun(replace(first, kind="cache", why="it panicked"), 1.0, begun(first, 0.5, history))

    assert [entry.outcome for entry in history.entries] == [
        "ready after 3.1 s",
        "did not help: it panicked",
        RUNNING,
    ]


def test_a_configuration_that_was_missed_is_read_by_a_new_process() -> None:
    plan = while_alive(replace(WELL, config_unseen=True), Vigil(), NEW, 0.0)
    assert plan is not None
    assert (plan.kind, plan.how, plan.cures) == ("config", "restart", ())
    assert while_alive(WELL, Vigil(), NEW, 0.0) is None
