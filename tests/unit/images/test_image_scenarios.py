"""The scenarios' own parts that need no container, and that each one says what it shows."""

from __future__ import annotations

import pytest

from scripts.images.scenarios import SCENARIOS
from scripts.images.scenarios.place import scripts_of


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_says_in_one_line_what_it_shows(name: str) -> None:
    assert SCENARIOS[name].__doc__
    assert "\n" not in str(SCENARIOS[name].__doc__)


def test_a_pages_own_scripts_and_styles_are_found_once_each() -> None:
    html = (
        '<link rel="stylesheet" href="/_next/static/a.css?v=1"><script src="/_next/static/b.js" async=""></script>'
        '<link rel="preload" as="script" href="/_next/static/b.js"><script src="https://elsewhere.example/c.js"></script>'
        '<a href="/about">about</a>'
    )
    assert list(scripts_of(html)) == ["/_next/static/a.css", "/_next/static/b.js"]
