"""Which rows of the table of real apps run first, and what is told of those that did not run."""

from __future__ import annotations

from scripts.apptable import order, report
from scripts.apptable.judge import not_reached
from scripts.apptable.rows import Row


def rows() -> list[Row]:
    return [
        Row("next16", "create-next-app 16", "a"),
        Row("next15", "create-next-app 15", "a"),
        Row("yarn1", "yarn 1", "a", manager="yarn@1.22.22"),
        Row("vite", "create-vite 9", "a"),
        Row("next14", "create-next-app 14", "a"),
        Row("pnpm9", "pnpm 9", "a", manager="pnpm@9.15.9"),
        Row("web", "npm workspaces", "a", directory="apps/web"),
    ]


def test_one_row_of_each_kind_comes_before_the_second_of_any() -> None:
    ordered = [row.name for row in order.one_of_each_kind_first(rows())]
    assert ordered == ["next16", "yarn1", "vite", "pnpm9", "web", "next15", "next14"]


def test_a_row_that_was_not_reached_is_in_the_table_and_in_the_json() -> None:
    judged = [not_reached(row) for row in rows()]
    assert report.as_table(judged).count("not reached") == len(judged)
    told = report.as_json(judged, {}, 1.0)
    assert [row["outcome"] for row in told["rows"]] == ["not reached"] * len(judged)
    assert "not reached: next16, next15" in told["summary"]
    assert "Not run: `next16`, `next15`" in report.as_markdown(told)
