"""Which versions satisfy which ranges: expected values are those of npm's own `semver` package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.packages.semver import major, satisfies, version


@pytest.mark.parametrize(
    ("has", "wanted", "fits"),
    [
        ("20.20.2", ">=20.9", True),
        ("20.20.2", ">=22", False),
        ("20.20.2", "20.x", True),
        ("20.20.2", "20", True),
        ("20.20.2", "18 || 20", True),
        ("20.20.2", "18 || 22", False),
        ("20.20.2", "^18.17.0 || >=20.5.0", True),
        ("20.20.2", "^20.21", False),
        ("20.20.2", "~20.20.0", True),
        ("20.20.2", "~20.19", False),
        ("20.20.2", ">=18 <20", False),
        ("20.20.2", ">=18 <=20", True),
        ("20.20.2", ">= 18.0.0 < 21", True),
        ("20.20.2", "18 - 22", True),
        ("20.20.2", ">20", False),
        ("21.0.0", ">20", True),
        ("20.20.2", "*", True),
        ("20.20.2", "", True),
        ("20.20.2", "v20.20.2", True),
        ("0.2.5", "^0.2.3", True),
        ("0.3.0", "^0.2.3", False),
        ("0.0.4", "^0.0.3", False),
        ("0.9.0", "^0", True),
        ("20.20.2", "lts/iron", None),
    ],
)
def test_a_range_is_read_as_npm_reads_it(has: str, wanted: str, *, fits: bool | None) -> None:
    numbers = version(has)
    assert numbers is not None
    assert satisfies(numbers, wanted) is fits


@given(st.text(alphabet="0123456789.x*^~<>=|- v", max_size=30))
def test_any_text_is_answered(text: str) -> None:
    assert satisfies((1, 2, 3), text) in {True, False, None}
    major(text)


def test_the_major_of_a_range_is_its_first_number() -> None:
    assert [major(spec) for spec in ("9.15.9", "^10", ">=8 <9", "latest")] == [9, 10, 8, None]
