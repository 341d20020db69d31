from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from agent.admin.status_json import changes, encode, facts, sentence
from agent.clock import rfc3339
from agent.status import IdleFacts, Problem, Snapshot, phase
from tests.peers.snapshots import FIRST, READY, RUNNING, SYNCED, snapshots

VERSIONS = {"python": "3.11.7"}
WALL = 1_795_000_000.0


class TestFacts:
    @given(snapshots())
    def test_every_fact_is_shown_and_comes_back_from_json_as_it_was(self, now: Snapshot) -> None:
        shown = facts(now, VERSIONS, WALL)
        back = orjson.loads(encode(shown))
        assert back["sync"]["revision"] == now.sync.revision
        assert set(back["sync"]) == {row.name for row in fields(now.sync)}
        assert set(back["dev_server"]) == {row.name for row in fields(now.dev_server)}
        assert len(back["problems"]) == len(now.problems)
        assert back["phase"] == phase(now)
        assert back == shown

    def test_the_conclusions_stand_beside_the_facts(self) -> None:
        shown = facts(FIRST, VERSIONS, WALL)
        assert shown["phase"] == "starting"
        assert shown["health"] == {"ok": True, "reason": None}
        assert shown["missing"] == [
            "the first sync is not on disk",
            "the dev server is waiting: not started yet",
        ]
        assert shown["versions"] == {"agent": "0.1.0", "python": "3.11.7"}

    def test_a_dev_server_that_gave_up_is_unhealthy_with_its_reason(self) -> None:
        failed = replace(RUNNING, dev_server=replace(READY, state="failed", reason="5 crashes in 10 minutes"))
        assert facts(failed, VERSIONS, WALL)["health"] == {
            "ok": False,
            "reason": "the dev server gave up: 5 crashes in 10 minutes",
        }

    def test_a_byte_that_is_not_utf_8_is_shown_as_an_escape(self) -> None:
        odd = replace(
            RUNNING, sync=replace(SYNCED, etag='"\udcff"'), problems=(Problem("sync", "x", file="\udc80.ts"),)
        )
        back = orjson.loads(encode(facts(odd, VERSIONS, WALL)))
        assert back["sync"]["etag"] == '"\\udcff"'
        assert back["problems"][0]["file"] == "\\udc80.ts"


class TestChanges:
    @given(st.lists(snapshots(), min_size=1, max_size=3))
    def test_the_first_snapshot_and_all_changes_make_the_last_one(self, life: list[Snapshot]) -> None:
        shown = [facts(now, VERSIONS, WALL) for now in life]
        state = orjson.loads(encode(shown[0]))
        for before, after in pairwise(shown):
            state = {**state, **orjson.loads(encode(changes(before, after)))}
        assert state == orjson.loads(encode(shown[-1]))

    @given(snapshots())
    def test_nothing_changed_between_a_snapshot_and_itself(self, now: Snapshot) -> None:
        assert changes(facts(now, VERSIONS, WALL), facts(now, VERSIONS, WALL)) == {}

    def test_only_the_parts_that_changed_are_told_each_of_them_whole(self) -> None:
        after = replace(RUNNING, sync=replace(SYNCED, state="held", held="an empty set"))
        told = changes(facts(RUNNING, VERSIONS, WALL), facts(after, VERSIONS, WALL))
        assert set(told) == {"sync", "phase"}
        assert told["phase"] == "degraded"
        assert told["sync"]["revision"] == 214


class TestTheSentence:
    LOOKED = IdleFacts(
        mode="exit",
        last_activity="input",
        last_activity_at=rfc3339(WALL - 40),
        kind="input",
        source="pointer",
        reason="someone moved the mouse",
        sleep_at=rfc3339(WALL + 260),
    )

    def test_it_says_who_kept_the_machine_awake_and_until_when(self) -> None:
        said = sentence(replace(RUNNING, idle=self.LOOKED), WALL)

        until = datetime.fromtimestamp(WALL + 260, UTC).strftime("%H:%M:%S")
        assert said == f"awake: someone moved the mouse 40 s ago; sleeps at {until} UTC unless used"

    def test_it_says_why_a_machine_never_sleeps(self) -> None:
        never = replace(self.LOOKED, sleep_at=None, never="SLEEP_MODE is off")

        said = sentence(replace(RUNNING, idle=never), WALL + 200)

        assert said == "awake: someone moved the mouse 4 min ago; it does not sleep by itself (SLEEP_MODE is off)"

    def test_it_says_that_the_machine_is_going_to_sleep(self) -> None:
        said = sentence(replace(RUNNING, idle=self.LOOKED, sleeping=True), WALL)

        assert said == "going to sleep: someone moved the mouse 40 s ago, and nothing since"
