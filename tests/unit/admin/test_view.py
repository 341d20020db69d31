from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from agent.admin.view import changes, encode, facts
from agent.status import Problem, Snapshot, phase
from tests.peers.snapshots import FIRST, READY, RUNNING, SYNCED, snapshots

VERSIONS = {"python": "3.11.7"}


class TestFacts:
    @given(snapshots())
    def test_every_fact_is_shown_and_comes_back_from_json_as_it_was(self, now: Snapshot) -> None:
        shown = facts(now, VERSIONS)
        back = orjson.loads(encode(shown))
        assert back["sync"]["revision"] == now.sync.revision
        assert set(back["sync"]) == {row.name for row in fields(now.sync)}
        assert set(back["dev_server"]) == {row.name for row in fields(now.dev_server)}
        assert len(back["problems"]) == len(now.problems)
        assert back["phase"] == phase(now)
        assert back == shown

    def test_the_conclusions_stand_beside_the_facts(self) -> None:
        shown = facts(FIRST, VERSIONS)
        assert shown["phase"] == "starting"
        assert shown["health"] == {"ok": True, "reason": None}
        assert shown["missing"] == [
            "the first sync is not on disk",
            "the dev server is waiting: not started yet",
        ]
        assert shown["versions"] == {"agent": "0.1.0", "python": "3.11.7"}

    def test_a_dev_server_that_gave_up_is_unhealthy_with_its_reason(self) -> None:
        failed = replace(RUNNING, dev_server=replace(READY, state="failed", reason="5 crashes in 10 minutes"))
        assert facts(failed, VERSIONS)["health"] == {
            "ok": False,
            "reason": "the dev server gave up: 5 crashes in 10 minutes",
        }

    def test_a_byte_that_is_not_utf_8_is_shown_as_an_escape(self) -> None:
        odd = replace(
            RUNNING, sync=replace(SYNCED, etag='"\udcff"'), problems=(Problem("sync", "x", file="\udc80.ts"),)
        )
        back = orjson.loads(encode(facts(odd, VERSIONS)))
        assert back["sync"]["etag"] == '"\\udcff"'
        assert back["problems"][0]["file"] == "\\udc80.ts"


class TestChanges:
    @given(st.lists(snapshots(), min_size=1, max_size=3))
    def test_the_first_snapshot_and_all_changes_make_the_last_one(self, life: list[Snapshot]) -> None:
        shown = [facts(now, VERSIONS) for now in life]
        state = orjson.loads(encode(shown[0]))
        for before, after in pairwise(shown):
            state = {**state, **orjson.loads(encode(changes(before, after)))}
        assert state == orjson.loads(encode(shown[-1]))

    @given(snapshots())
    def test_nothing_changed_between_a_snapshot_and_itself(self, now: Snapshot) -> None:
        assert changes(facts(now, VERSIONS), facts(now, VERSIONS)) == {}

    def test_only_the_parts_that_changed_are_told_each_of_them_whole(self) -> None:
        after = replace(RUNNING, sync=replace(SYNCED, state="held", held="an empty set"))
        told = changes(facts(RUNNING, VERSIONS), facts(after, VERSIONS))
        assert set(told) == {"sync", "phase"}
        assert told["phase"] == "degraded"
        assert told["sync"]["revision"] == 214
