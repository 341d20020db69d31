from __future__ import annotations

import pytest

from agent.admin.access import refusal
from agent.config import Secret

KEY = Secret("s3cret-key")


@pytest.mark.parametrize("header", ["Bearer s3cret-key", "bearer s3cret-key", "Bearer   s3cret-key "])
def test_whoever_shows_the_key_may_act(header: str) -> None:
    assert refusal(header, KEY) is None


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "requires the header"),
        ("", "requires the header"),
        ("Basic czNjcmV0LWtleQ==", "another scheme"),
        ("s3cret-key", "another scheme"),
        ("Bearer", "not this agent's API_KEY"),
        ("Bearer ", "not this agent's API_KEY"),
        ("Bearer s3cret-ke", "not this agent's API_KEY"),
        ("Bearer s3cret-key2", "not this agent's API_KEY"),
        ("Bearer \udcff\udcfe", "not this agent's API_KEY"),
    ],
)
def test_whoever_does_not_is_told_why_and_never_what_would_do(header: str | None, says: str) -> None:
    refused = refusal(header, KEY)
    assert refused is not None
    assert says in refused.message
    assert KEY.reveal() not in refused.message
    assert refused.challenge.startswith("Bearer")


@pytest.mark.parametrize("header", [None, "", "Bearer ", "Bearer None"])
def test_an_agent_without_a_key_obeys_nobody(header: str | None) -> None:
    refused = refusal(header, None)
    assert refused is not None
    assert "without API_KEY" in refused.message
