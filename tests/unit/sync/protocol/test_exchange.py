"""What a request says, and what the head of its answer means."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agent.errors import BackendError, BadAnswer, NoSuchApp, Throttled, Unauthorized, Unreachable, WrongBase
from agent.sync.protocol.exchange import AnswerHead, FilesRequest, read_head

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
WALL = NOW.timestamp()
FIRST = FilesRequest(None)
LATER = FilesRequest('"7"', wait=25)


def head(status: int, ask: FilesRequest = LATER, **headers: str) -> AnswerHead:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return read_head(status, named, ask, wall=WALL)


def test_the_first_request_asks_for_the_whole_set() -> None:
    assert FIRST.headers() == {
        "Accept": "application/x-ndjson, application/json;q=0.9",
        "Cache-Control": "no-cache",
    }


def test_a_later_request_names_its_tag_takes_a_delta_and_may_be_held() -> None:
    headers = LATER.headers()

    assert (headers["If-None-Match"], headers["A-IM"], headers["Prefer"]) == ('"7"', "files-delta", "wait=25")
    assert "Prefer" not in FilesRequest('"7"').headers()


def test_a_200_is_the_whole_set_also_to_a_request_for_a_delta() -> None:
    assert head(200, ETag='"8"', Preview_Revision="8") == AnswerHead("whole", '"8"', 8, held=False, stream=False)


def test_a_226_is_a_delta_against_our_tag() -> None:
    answer = head(226, ETag='"8"', Delta_Base='"7"', IM="files-delta", Content_Type="application/x-ndjson")

    assert answer == AnswerHead("delta", '"8"', None, held=False, stream=True)


@pytest.mark.parametrize("headers", [{}, {"Delta_Base": '"6"'}, {"Delta_Base": '"7"', "IM": "vcdiff"}])
def test_a_delta_against_something_else_is_rejected(headers: dict[str, str]) -> None:
    with pytest.raises(WrongBase):
        head(226, LATER, ETag='"8"', **headers)


def test_a_delta_that_nobody_asked_for_is_rejected() -> None:
    with pytest.raises(WrongBase):
        head(226, FIRST, ETag='"8"', Delta_Base='"7"', IM="files-delta")


def test_a_304_keeps_the_tag() -> None:
    assert head(304).etag == '"7"'


def test_a_304_to_a_request_without_a_tag_is_rejected() -> None:
    with pytest.raises(WrongBase):
        head(304, FIRST)


@pytest.mark.parametrize(
    ("applied", "held"),
    [("wait=25", True), ("WAIT", True), ("return=minimal, wait=5", True), ("", False), ("await=25", False)],
)
def test_the_backend_says_itself_whether_it_holds(applied: str, *, held: bool) -> None:
    assert head(304, Preference_Applied=applied).held == held
    assert not head(304, FilesRequest('"7"'), Preference_Applied="wait=25").held, "it was not asked to"


@pytest.mark.parametrize("revision", ["", "-1", "1.5", "0x1", "9" * 19, "٣"])
def test_a_revision_that_is_no_number_rejects_the_answer(revision: str) -> None:
    with pytest.raises(BadAnswer):
        head(200, Preview_Revision=revision)


@pytest.mark.parametrize("tag", ['"7"', 'W/"7"', "7", '"' + "x" * 1000 + '"'])
def test_a_tag_is_taken_as_it_comes(tag: str) -> None:
    assert head(200, ETag=tag).etag == tag


@pytest.mark.parametrize("tag", ["", '"\udcff"', '"ü"', '"a b"', '"a\tb"', '"' + "x" * 2000 + '"'])
def test_a_tag_that_could_not_be_sent_back_is_none(tag: str) -> None:
    assert head(200, ETag=tag).etag is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NoSuchApp),
        (429, Throttled),
        (503, Throttled),
        (500, BackendError),
        (400, BackendError),
        (204, BackendError),
        (206, BackendError),
        (301, BackendError),
        (302, BackendError),
        (307, BackendError),
    ],
)
def test_a_status_is_an_error_of_its_kind(status: int, kind: type[BackendError]) -> None:
    with pytest.raises(BackendError) as caught:
        head(status, Location="http://elsewhere/")

    assert caught.type is kind
    assert str(status) in str(caught.value)
    assert "elsewhere" not in str(caught.value)


def said(status: int, challenge: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        head(status, WWW_Authenticate=challenge)
    return str(caught.value)


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "nbf", "iat", "app_name", "machine_id"])
def test_a_refused_token_is_told_by_the_claim_that_was_wrong(claim: str) -> None:
    challenge = f'Bearer realm="x", error="invalid_token", error_description="claim {claim}"'
    assert f"refuses this machine's token (403) for its claim {claim}" in said(403, challenge)


def test_nothing_else_of_a_challenge_is_shown_because_it_may_quote_the_key() -> None:
    for words in ("claim s3cret", "the key s3cret opens nothing", 'claim "aud s3cret'):
        assert "s3cret" not in said(401, f'Bearer error_description="{words}"')
    assert "s3cret" not in said(401, 'Bearer error_description="s3cret: claim aud s3cret"')


@pytest.mark.parametrize("status", [408, 502, 504, 524])
def test_a_proxy_that_got_no_answer_is_like_no_answer(status: int) -> None:
    with pytest.raises(Unreachable, match=str(status)):
        head(status)


HEADERS = st.dictionaries(
    st.sampled_from(
        ["ETag", "Delta-Base", "IM", "Preview-Revision", "Preference-Applied", "Retry-After", "Content-Type"]
    ),
    st.text(max_size=30) | st.sampled_from(['"7"', "files-delta", "wait=25", "3", "application/x-ndjson"]),
)


@given(st.integers(100, 599), HEADERS, st.sampled_from([FIRST, LATER, FilesRequest('"7"')]))
def test_any_head_is_an_answer_or_an_error_of_ours(status: int, headers: dict[str, str], ask: FilesRequest) -> None:
    with suppress(BackendError):
        answer = read_head(status, CIMultiDict(headers), ask, wall=WALL)
        assert status in {200, 226, 304}
        assert answer.kind != "delta" or headers["Delta-Base"] == ask.tag
        assert answer.kind != "same" or ask.tag is not None
