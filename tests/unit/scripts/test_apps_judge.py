"""A row is judged against the same app run bare, and the report says what was expected and seen."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.apptable import compare, patience, report
from scripts.apptable.judge import Judged, SideSeen, StepSeen, edits, judge, judge_bare, left_out
from scripts.apptable.rows import Row

ROW = Row("shop", "an app", "Hello")
APP = ("package.json", "app/page.tsx")


def side(**said: Any) -> SideSeen:
    return SideSeen(**{"first": 10.0, "files": list(APP), "versions": {"next": "1"}, **said})


def judged(ours: SideSeen, bare: SideSeen | None = None) -> Judged:
    return judge(ROW, ours, side() if bare is None else bare, APP)


def test_an_app_that_is_shown_as_bare_runs() -> None:
    one = judged(side(first=11.0))
    assert (one.outcome, one.failures) == ("runs", ())
    assert one.ratio == pytest.approx(1.1)


def test_a_page_that_bare_has_and_we_have_not_is_a_failure() -> None:
    one = judged(side(first=None, why="expected 'Hello'"))
    assert (one.outcome, one.failures) == ("fails", ("start: expected 'Hello'",))


def test_a_page_that_bare_has_not_either_is_excused() -> None:
    one = judged(side(first=None, why="500"), side(first=None, why="500 too"))
    assert (one.outcome, one.excused) == ("as bare", ("start: 500",))


def test_an_edit_is_excused_only_where_bare_did_not_follow_it() -> None:
    ours = side(steps=[StepSeen("css", None, "no style"), StepSeen("route", None, "404"), StepSeen("text", 0.4)])
    one = judged(ours, side(steps=[StepSeen("css", None, "no style"), StepSeen("route", 0.5)]))
    assert (one.failures, one.excused) == (("route: 404",), ("css: no style",))
    assert edits(one) == {"css": "as bare", "route": "no", "text": "0.4"}


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        ({"console": ["hydration failed"]}, "console: hydration failed"),
        ({"files": [*APP, "postcss.config.mjs"]}, "files of ours: postcss.config.mjs"),
        ({"files": ["package.json"]}, "missing files: app/page.tsx"),
        ({"versions": {"next": "2"}}, "packages: next 2, bare 1"),
    ],
)
def test_what_only_we_have_is_a_failure_although_the_page_is_shown(ours: dict[str, Any], found: str) -> None:
    assert judged(side(**ours)).failures == (found,)


def test_what_bare_has_as_well_is_none() -> None:
    files = [*APP, "tsconfig.json"]
    bare = side(console=["no favicon"], files=files)
    assert (
        judged(side(console=["no favicon"], files=[*files, ".next/cache/1", "a/node_modules/b"]), bare).failures == ()
    )


def test_what_the_app_s_own_tools_make_is_no_file_of_ours_without_a_bare_run_either() -> None:
    ours = side(files=[*APP, "generated/content.json"])
    row = Row("g", "a generator", "hello", makes=("generated/content.json",))
    assert judge(ROW, ours, None, APP).failures == ("files of ours: generated/content.json",)
    assert judge(row, ours, None, APP).failures == ()


def test_an_app_that_must_not_run_is_refused() -> None:
    assert judge(Row("c", "no app", "", runs=False, problem="no"), side(), None, APP).outcome == "refused"


def test_a_bare_run_alone_fails_by_its_start_and_its_edits() -> None:
    assert judge_bare(ROW, side()).outcome == "runs"
    assert judge_bare(ROW, side(steps=[StepSeen("fix", None, "overlay")])).failures == ("fix: overlay",)


@pytest.mark.parametrize(("load", "factor"), [(0.1, 1.0), (2.0, 1.0), (6.0, 3.0), (100.0, patience.MOST)])
def test_deadlines_grow_with_what_else_the_machine_does(load: float, factor: float) -> None:
    assert patience.factor(load, cores=2) == factor


def test_versions_differ_where_one_side_lacks_a_package() -> None:
    assert compare.other_versions({"a": "1", "ms": "2"}, {"b": "1"}, {"ms"}) == ["a 1, bare absent", "b absent, bare 1"]


def test_a_long_list_is_shortened() -> None:
    assert compare.shortened([str(number) for number in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


RESULTS = [
    judged(side(first=10.5, steps=[StepSeen("text", 0.42)])),
    judged(side(first=None, why="expected 'Hello'; an error | overlay\nsecond line", evidence="agent: 1")),
    left_out(Row("pnpm11", "pnpm 11", ""), "needs Node.js 22"),
]


def test_the_summary_counts_those_that_run_bare() -> None:
    assert report.summary(RESULTS).startswith(
        "1 of 2 apps that run bare run here; first page within 1.1 times bare: 1 of 1"
    )


def test_the_table_has_a_line_for_each_row() -> None:
    lines = report.as_table(RESULTS).splitlines()
    assert len(lines) == 1 + len(RESULTS)
    assert lines[1].endswith("text 0.4")


def test_a_failure_is_told_with_its_evidence() -> None:
    assert report.failures(RESULTS).endswith("agent: 1")


def test_markdown_names_the_reason_of_a_row_that_does_not_run_and_keeps_its_cells() -> None:
    said = report.as_json(RESULTS, {}, 1.0)
    lines = report.as_markdown(said).splitlines()
    assert "an error \\| overlay" in lines[-2]
    assert "needs Node.js 22" in lines[-1]
    document = "before\n<!-- measured:apps -->\nold\n<!-- /measured:apps -->\nafter\n"
    new = report.renewed(document, said)
    assert new.startswith("before\n<!-- measured:apps -->\n1 of 2 apps")
    assert new.endswith("<!-- /measured:apps -->\nafter\n")
    assert "old" not in new
