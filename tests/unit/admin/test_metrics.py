from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from agent.admin.metrics import Scrape, render
from agent.status import Failure, Problem, Snapshot
from tests.peers.snapshots import FIRST, READY, RUNNING, SYNCED, snapshots

Labels = frozenset[tuple[str, str]]


def samples(now: Snapshot) -> dict[tuple[str, Labels], float]:
    got: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text(now)):
        for sample in family.samples:
            got[sample.name, frozenset(sample.labels.items())] = sample.value
    return got


def text(now: Snapshot) -> str:
    return render(
        Scrape(now=now, versions={"python": "3.11.7"}, rss_bytes=40_000_000, cpu_seconds=1.5, open_fds=17)
    ).decode()


def value(now: Snapshot, name: str, **labels: str) -> float | None:
    return samples(now).get((f"preview_{name}", frozenset(labels.items())))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agent_resident_memory_bytes", 40_000_000),
        ("agent_cpu_seconds_total", 1.5),
        ("agent_open_fds", 17),
        ("agent_start_time_seconds", 1795341600),
        ("healthy", 1),
        ("ready", 1),
        ("sync_revision", 214),
        ("sync_files", 12),
        ("sync_bytes", 3456),
        ("sync_held", 0),
        ("sync_failure_tries", 0),
        ("sync_requests_total", 7),
        ("sync_sets_applied_total", 2),
        ("sync_received_bytes_total", 9876),
        ("dev_server_restarts_total", 3),
        ("dev_server_crashes_total", 1),
        ("dev_server_compiling", 0),
        ("dev_server_resident_memory_bytes", 250_000_000),
        ("dev_server_cpu_cores", 0.25),
        ("dev_server_processes", 4),
        ("dev_server_repairs_total", 2),
        ("dev_server_memory_limit_bytes", 1_000_000_000),
        ("dev_server_memory_used_bytes", 300_000_000),
        ("dev_server_oom_kills", 1),
        ("dev_server_disk_free_bytes", 7_000_000_000),
        ("install_runs_total", 0),
    ],
)
def test_each_fact_is_a_metric(name: str, expected: float) -> None:
    assert value(RUNNING, name) == expected


@pytest.mark.parametrize(
    ("name", "label", "holds"),
    [
        ("phase", "phase", "running"),
        ("sync_state", "state", "current"),
        ("dev_server_state", "state", "ready"),
        ("install_state", "state", "idle"),
    ],
)
def test_a_state_is_one_gauge_per_value_and_1_for_the_one_that_holds(name: str, label: str, holds: str) -> None:
    family = {dict(at)[label]: got for (full, at), got in samples(RUNNING).items() if full == f"preview_{name}"}
    assert len(family) > 1
    assert [state for state, got in family.items() if got == 1] == [holds]


def test_what_is_not_known_has_no_sample() -> None:
    assert value(FIRST, "sync_revision") is None
    assert value(RUNNING, "dev_server_proportional_memory_bytes") is None
    measured = replace(RUNNING, dev_server=replace(READY, pss_bytes=200_000_000))
    assert value(measured, "dev_server_proportional_memory_bytes") == 200_000_000


def test_trouble_is_seen_in_the_numbers() -> None:
    failure = Failure(
        code="unreachable", message="refused", since="2026-11-22T10:00:03.000Z", tries=4, next_try_at=None
    )
    bad = replace(
        RUNNING,
        sync=replace(SYNCED, state="failing", failure=failure, held="an empty set"),
        dev_server=replace(READY, state="failed"),
        problems=(Problem("compile", "a"), Problem("compile", "b"), Problem("sync", "c")),
    )
    assert value(bad, "sync_failure_tries") == 4
    assert value(bad, "sync_held") == 1
    assert value(bad, "healthy") == 0
    assert value(bad, "ready") == 0
    assert value(bad, "problems", source="compile") == 2
    assert value(bad, "problems", source="runtime") == 0


@given(snapshots())
def test_any_snapshot_is_valid_exposition_with_one_help_and_type_a_family(now: Snapshot) -> None:
    lines = text(now).splitlines()
    for keyword in ("# HELP", "# TYPE"):
        names = Counter(line.split()[2] for line in lines if line.startswith(keyword))
        assert names
        assert set(names.values()) == {1}
    for family in text_string_to_metric_families(text(now)):
        assert family.name.startswith("preview_")
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
