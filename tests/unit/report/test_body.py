from __future__ import annotations

from dataclasses import replace
from typing import get_args

import orjson
from hypothesis import given

from agent.report.body import body, urgent_parts
from agent.status import Phase, Problem, Snapshot, Source
from tests.peers.snapshots import FIRST, READY, RUNNING, SYNCED, snapshots


def test_it_is_the_contracts_json_word_for_word() -> None:
    problem = Problem("compile", "Unexpected token", "app/page.tsx", 12, 5, 213)
    assert body(replace(RUNNING, problems=(problem,))) == {
        "state": "running",
        "machine": "m1",
        "revision": 214,
        "etag": '"r214"',
        "last_activity_at": None,
        "last_activity": "none",
        "sleep_at": None,
        "dev_server": {"state": "ready", "restarts": 3, "rss_bytes": 250_000_000},
        "problems": [
            {
                "source": "compile",
                "message": "Unexpected token",
                "file": "app/page.tsx",
                "line": 12,
                "column": 5,
                "since_revision": 213,
                "level": "error",
                "code": "compile-error",
            }
        ],
        "receipts": [],
    }


def test_what_is_not_known_yet_is_null() -> None:
    told = body(FIRST)
    assert (told["state"], told["revision"], told["etag"]) == ("starting", None, None)


def test_a_long_feed_is_cut_to_what_a_person_reads() -> None:
    problems = tuple(Problem("compile", "x" * 2_001, line=at) for at in range(60))
    told = body(replace(RUNNING, problems=problems))["problems"]
    assert [problem["line"] for problem in told] == list(range(50))
    assert all(problem["message"] == "x" * 1_999 + "…" for problem in told)


def test_a_message_of_just_the_allowed_length_is_whole() -> None:
    told = body(replace(RUNNING, problems=(Problem("compile", "x" * 2_000),)))["problems"]
    assert told[0]["message"] == "x" * 2_000


def test_a_byte_that_is_not_utf_8_is_shown_as_an_escape() -> None:
    odd = replace(RUNNING, sync=replace(SYNCED, etag='"\udcff"'), problems=(Problem("sync", "\udc80", "\udc81"),))
    told = orjson.loads(orjson.dumps(body(odd)))
    assert told["etag"] == '"\\udcff"'
    assert (told["problems"][0]["message"], told["problems"][0]["file"]) == ("\\udc80", "\\udc81")


@given(snapshots())
def test_any_snapshot_has_a_body_in_the_contracts_terms(now: Snapshot) -> None:
    told = orjson.loads(orjson.dumps(body(now)))
    assert told["state"] in get_args(Phase)
    assert all(problem["source"] in get_args(Source) for problem in told["problems"])
    assert len(orjson.dumps(told)) < 64 * 1024 or len(now.problems) > 1


class TestNews:
    def test_memory_use_alone_is_no_news(self) -> None:
        grown = replace(RUNNING, dev_server=replace(READY, rss_bytes=300_000_000, cpu=1.0, pss_bytes=1))
        assert urgent_parts(body(grown)) == urgent_parts(body(RUNNING))

    def test_each_thing_that_the_contract_names_is_news(self) -> None:
        changed = [
            replace(RUNNING, stopping=True),
            replace(RUNNING, sync=replace(SYNCED, state="held")),
            replace(RUNNING, sync=replace(SYNCED, revision=215)),
            replace(RUNNING, sync=replace(SYNCED, etag='"r215"')),
            replace(RUNNING, dev_server=replace(READY, state="restarting")),
            replace(RUNNING, dev_server=replace(READY, restarts=4)),
            replace(RUNNING, problems=(Problem("sync", "x"),)),
        ]
        for now in changed:
            assert urgent_parts(body(now)) != urgent_parts(body(RUNNING))
