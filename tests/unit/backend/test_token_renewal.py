"""How long a token lives, and when the next is asked for: by two clocks of which one may be behind."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.backend.token_renewal import BACKOFF_CAP, DOUBT_SECONDS, Malformed, Now, Renewal, valid_seconds

WALL = 1_700_000_000.0
lives = st.floats(0.5, 1e6)
seconds = st.floats(0, 1e6)
chances = st.floats(0, 1, exclude_max=True)


def token(claims: Any) -> str:
    payload = urlsafe_b64encode(claims if isinstance(claims, bytes) else json.dumps(claims).encode()).decode()
    return f"aGVhZA.{payload.rstrip('=')}.c2lnbg"


class TestItsLife:
    @given(st.integers(1, 10**6), st.floats(-1e9, 1e9))
    def test_is_its_own_word_whatever_the_machines_clock_says(self, life: int, wrong: float) -> None:
        assume(not 0 < life - wrong < life)  # a clock that is ahead by less than a life is believed: it renews earlier
        assert valid_seconds(token({"iat": WALL, "exp": WALL + life}), wall=WALL + wrong) == life

    def test_is_what_is_left_of_it_where_it_was_issued_a_while_ago(self) -> None:
        assert valid_seconds(token({"iat": WALL, "exp": WALL + 600}), wall=WALL + 400) == 200

    def test_is_counted_from_now_where_it_does_not_say_since_when(self) -> None:
        assert valid_seconds(token({"exp": int(WALL) + 600}), wall=WALL) == 600

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "it is not a JWT"),
            ("<html>", "it is not a JWT"),
            ("a.b", "it is not a JWT"),
            ("a.b.c.d", "it is not a JWT"),
            ("a.b.c\n", "it is not a JWT"),
            ("a.b=.c", "it is not a JWT"),
            ("a.b.c", "its claims are not JSON"),
            (token(b"{"), "its claims are not JSON"),
            (token(b"\xff\xfe"), "its claims are not JSON"),
            (token([1]), "its claims are not a JSON object"),
            (token({"iat": 1}), "it has no time of expiry"),
            (token({"exp": "soon"}), "its exp is not a number"),
            (token({"exp": True}), "its exp is not a number"),
            (token({"exp": 5, "iat": []}), "its iat is not a number"),
            (token({"exp": 5, "iat": 6}), "it ends before it was issued"),
            (token({"exp": 5}), "it has expired already"),
        ],
    )
    def test_a_text_that_is_no_token_is_refused_and_not_quoted(self, text: str, says: str) -> None:
        with pytest.raises(Malformed) as caught:
            valid_seconds(text, wall=WALL)
        assert says in str(caught.value)
        assert not text or text not in str(caught.value)

    @given(
        st.text() | st.binary().map(token) | st.dictionaries(st.sampled_from(["exp", "iat"]), st.floats()).map(token)
    )
    def test_whatever_comes_it_is_a_life_or_a_refusal(self, text: str) -> None:
        with suppress(Malformed):
            assert valid_seconds(text, wall=WALL) > 0


def came(life: float) -> Renewal:
    return Renewal().renewed(life, Now(100.0, WALL))


def later(monotonic: float, wall: float | None = None) -> Now:
    return Now(100.0 + monotonic, WALL + (monotonic if wall is None else wall))


class TestWhenItIsRenewed:
    @pytest.mark.parametrize(("life", "at"), [(600, 480), (300, 240), (200, 140), (100, 50), (4, 2)])
    def test_at_four_fifths_or_a_minute_before_the_end(self, life: float, at: float) -> None:
        assert came(life).step(later(at - 0.1)) == "use"
        assert came(life).step(later(at)) == "ask"

    @given(lives, seconds, seconds)
    def test_one_that_is_used_stands_by_both_clocks(self, life: float, monotonic: float, wall: float) -> None:
        now = later(monotonic, wall)
        if came(life).step(now) == "use":
            assert monotonic < life
            assert now.wall - WALL < life

    @given(lives, seconds, st.floats(1, 1e9))
    def test_a_clock_that_is_behind_never_prolongs_it(self, life: float, monotonic: float, behind: float) -> None:
        assert came(life).stands(later(monotonic, monotonic - behind)) == came(life).stands(later(monotonic))

    def test_when_the_wall_clock_is_stepped_after_a_resume(self) -> None:
        assert came(600).step(later(10, 10)) == "use"
        assert came(600).step(later(11, 40_000)) == "ask"

    def test_there_is_none_at_first(self) -> None:
        assert Renewal().step(Now(0, 0)) == "ask"
        assert not Renewal().stands(Now(0, 0))

    @given(lives, seconds, st.lists(chances, min_size=1, max_size=20))
    def test_after_a_failure_the_old_one_is_used_while_it_stands_and_the_pauses_have_a_bound(
        self, life: float, at: float, fails: list[float]
    ) -> None:
        renewal, now = came(life), later(at)
        for chance in fails:
            renewal = renewal.failed(now, chance=chance)
        assert renewal.ask_at - now.monotonic <= BACKOFF_CAP
        assert renewal.stands(now) == came(life).stands(now)
        if renewal.ask_at > now.monotonic and came(life).step(now) == "ask":
            assert renewal.step(now) == ("use for want of a better" if renewal.stands(now) else "none")
        assert renewal.step(later(at + BACKOFF_CAP)) in {"ask", "use"}


class TestADoubt:
    def test_asks_for_another_though_the_clocks_see_no_reason(self) -> None:
        doubted, granted = came(600).doubted(later(1))
        assert granted
        assert doubted.step(later(1)) == "ask"
        assert doubted.renewed(600, later(1)).step(later(1)) == "use"

    def test_is_granted_once_in_a_while(self) -> None:
        doubted, _ = came(600).doubted(later(1))
        assert doubted.doubted(later(1))[1]  # the same one, which is not settled yet
        again = doubted.renewed(600, later(2))
        assert not again.doubted(later(2 + DOUBT_SECONDS / 2))[1]
        assert again.doubted(later(2 + DOUBT_SECONDS))[1]

    @given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
    def test_a_key_that_is_refused_for_ever_costs_one_renewal_in_ten_seconds(
        self, steps: list[tuple[float, bool]]
    ) -> None:
        renewal, at, asked = came(1e6), 0.0, 0
        for pause, refused in steps:
            at += pause
            if refused:
                renewal, _ = renewal.doubted(later(at))
            if renewal.step(later(at)) == "ask":
                asked += 1
                renewal = renewal.renewed(1e6, later(at))
        assert asked <= 1 + at / DOUBT_SECONDS
