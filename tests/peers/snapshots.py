"""Snapshots to test with: one of a preview that runs, and any that could be."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from hypothesis import strategies as st

from agent.clock import rfc3339
from agent.status import DevServerFacts, Failure, IdleFacts, InstallFacts, Problem, Repair, Snapshot, SyncFacts

FIRST = Snapshot(app_id="shop", machine="m1", started_at="2026-11-22T10:00:00.000Z", version="0.1.0")
SYNCED = SyncFacts(
    state="current",
    revision=214,
    etag='"r214"',
    files=12,
    bytes=3456,
    applied_at="2026-11-22T10:00:01.000Z",
    requests=7,
    sets_applied=2,
    bytes_received=9876,
)
READY = DevServerFacts(
    state="ready",
    reason="it answers",
    ready_at="2026-11-22T10:00:02.000Z",
    restarts=3,
    crashes=1,
    rss_bytes=250_000_000,
    cpu=0.25,
    processes=4,
    memory_limit_bytes=1_000_000_000,
    memory_used_bytes=300_000_000,
    oom_kills=1,
    disk_free_bytes=7_000_000_000,
    repairs=(Repair("started it again", "its memory", "2026-11-22T10:00:01.000Z", "ready after 3.1 s"),),
    repaired=2,
)
RUNNING = Snapshot(
    app_id="shop",
    machine="m1",
    started_at="2026-11-22T10:00:00.000Z",
    version="0.1.0",
    sync=SYNCED,
    dev_server=READY,
)


MOMENTS = st.none() | st.floats(0, 4e9).map(rfc3339)
COUNTS = st.integers(0, 10**18 - 1)
"""As large as a revision may be."""


def anything(kind: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a dataclass, its optional fields included."""
    counts = {int: COUNTS, int | None: st.none() | COUNTS}
    hints = get_type_hints(kind)
    return st.builds(kind, **{row.name: given.get(row.name, counts.get(hints[row.name], ...)) for row in fields(kind)})


def snapshots() -> st.SearchStrategy[Snapshot]:
    return anything(
        Snapshot,
        started_at=st.just("2026-11-22T10:00:00.000Z"),
        idle=anything(IdleFacts, last_activity_at=MOMENTS, sleep_at=MOMENTS),
        sync=anything(
            SyncFacts,
            progress=st.none() | st.tuples(COUNTS, st.none() | COUNTS),
            failure=st.none() | anything(Failure),
        ),
        dev_server=anything(DevServerFacts, cpu=st.floats(0, 64)),
        install=anything(InstallFacts, seconds=st.none() | st.floats(0, 600)),
        problems=st.lists(anything(Problem), max_size=3).map(tuple),
        broken=st.lists(anything(Problem), max_size=2).map(tuple),
    )
