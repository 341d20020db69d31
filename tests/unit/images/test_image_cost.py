"""What the machines cost: sums that can be done by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.images import cost


def test_a_gigabyte_asleep_is_its_price() -> None:
    assert cost.a_month(1e9, 1, 0) == pytest.approx(0.15)
    assert cost.a_month(1.2e9, 1000, 0) == pytest.approx(180)


def test_a_machine_that_never_sleeps_pays_for_its_size_alone() -> None:
    assert cost.a_month(1e9, 1, 24) == pytest.approx(cost.a_month(2e9, 1, 24)) == pytest.approx(720 * 6.64 / 730)


@given(st.floats(0, 8e9), st.integers(1, 10_000), st.floats(0, 24), st.floats(0, 24))
def test_more_of_anything_never_costs_less(disk: float, apps: int, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert cost.a_month(disk, apps, less) <= cost.a_month(disk, apps, more) * (1 + 1e-9) + 1e-9 or disk > 5e10
    assert cost.a_month(disk, apps, less) <= cost.a_month(disk, apps + 1, less)


def test_the_table_has_a_row_for_each_number_of_apps() -> None:
    lines = cost.as_table(1e9).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["1", "50", "500", "5,000"]
    assert "$ 750.00" in lines[4]
