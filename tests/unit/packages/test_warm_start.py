"""When the packages that a machine starts with are exactly those of an app."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.packages.warm_start import matches_exactly

TREE: dict[str, Any] = {
    "node_modules/next": {
        "version": "16.4.5",
        "dependencies": {"postcss": "8.4.31"},
        "optionalDependencies": {"sharp": "^0.34", "fsevents": "2"},
        "peerDependencies": {"react": "^19", "sass": "^1"},
    },
    "node_modules/next/node_modules/postcss": {"version": "8.4.31", "dependencies": {"nanoid": "^3"}},
    "node_modules/nanoid": {"version": "3.3.11"},
    "node_modules/sharp": {"version": "0.34.1"},
    "node_modules/react": {"version": "19.3.1"},
    "node_modules/typescript": {"version": "5.9.3", "dev": True},
}
EXACT = {"dependencies": {"next": "16.4.5", "react": "19.3.1"}, "devDependencies": {"typescript": "5.9.3"}}


def judged(package: object, tree: object = TREE) -> bool:
    return matches_exactly(json.dumps(package).encode(), json.dumps({"packages": tree}).encode())


def test_every_version_named_exactly_and_nothing_else_there() -> None:
    assert judged(EXACT)
    assert judged({**EXACT, "name": "shop", "scripts": {"dev": "next dev"}})


@pytest.mark.parametrize(
    "package",
    [
        {},
        {**EXACT, "dependencies": {"next": "^16.4.5", "react": "19.3.1"}},
        {**EXACT, "dependencies": {"next": "16.4.5", "react": "18.3.1"}},
        {**EXACT, "dependencies": {"next": "16.4.5", "react": "19.3.1", "clsx": "2.1.1"}},
        {"dependencies": EXACT["dependencies"]},
        {**EXACT, "overrides": {"postcss": "8.5.0"}},
        {**EXACT, "dependencies": []},
        [],
    ],
)
def test_anything_else_is_installed(package: object) -> None:
    assert not judged(package)


def test_a_package_that_nothing_needs_is_not_what_the_app_asks_for() -> None:
    assert not judged(EXACT, {**TREE, "node_modules/left": {"version": "1.0.0"}})


@pytest.mark.parametrize("hidden", [b"", b"{}", b'{"packages": []}', b'{"packages": {"node_modules/next": 1}}'])
def test_a_record_that_says_nothing_is_no_proof(hidden: bytes) -> None:
    assert not matches_exactly(json.dumps(EXACT).encode(), hidden)
