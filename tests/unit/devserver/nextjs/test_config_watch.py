"""A change of next.config that Next did not notice; its lines as Next 16.4 prints them."""

from __future__ import annotations

import pytest

from agent.devserver.nextjs.config_watch import UNSEEN_SECONDS, ConfigWatch

READ = "✓ Running next.config.ts took 167ms"
NOTICED = "⚠ Found a change in next.config.ts. Restarting the server to apply the changes..."
STARTED = ConfigWatch().after_line(READ, 10.0)
LATE = 20.0 + UNSEEN_SECONDS


def test_a_change_after_the_file_was_read_is_unseen_once_its_time_is_over() -> None:
    changed = STARTED.changed(20.0)
    assert not changed.is_unseen(LATE - 0.1)
    assert changed.is_unseen(LATE)


def test_a_change_that_next_notices_is_seen() -> None:
    assert not STARTED.changed(20.0).after_line(NOTICED, 20.3).is_unseen(LATE)


def test_next_may_be_quicker_than_the_news_of_the_change() -> None:
    assert not STARTED.after_line(NOTICED, 19.9).changed(20.0).is_unseen(LATE)


def test_the_second_of_two_changes_is_unseen_where_only_the_first_was_noticed() -> None:
    first = STARTED.changed(18.0).after_line(NOTICED, 18.2)
    assert first.after_line(READ, 19.5).changed(20.0).is_unseen(LATE)
    assert not first.changed(19.0).after_line(READ, 19.5).is_unseen(LATE)  # it was there when the file was read


@pytest.mark.parametrize(("took", "seen"), [("0.5ms", True), ("900ms", True), ("1.2s", False), ("0.1min", False)])
def test_what_counts_is_when_the_reading_began(took: str, seen: bool) -> None:  # noqa: FBT001 - a case
    read = ConfigWatch().changed(20.0).after_line(f" ✓ Running next.config.mjs took {took}", 21.0)
    assert read.is_unseen(LATE) is not seen


def test_a_server_that_does_not_say_when_it_reads_is_left_alone() -> None:
    assert not ConfigWatch().changed(20.0).is_unseen(LATE)


@pytest.mark.parametrize("line", ["Running next.config.ts took 1.2.3ms", "Running next.config.ts took ever so long"])
def test_a_line_of_the_apps_own_breaks_nothing(line: str) -> None:
    assert ConfigWatch().after_line(line, 1.0) == ConfigWatch()
