"""What a proxy changes in a head, and that it changes nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.http.forwarded_headers import ForwardContext, client_fields, upstream_fields
from agent.gateway.http.heads import NO_BODY, Fields, RequestHead, ResponseHead

NAMES = st.sampled_from([b"Accept", b"cookie", b"X-A", b"Set-Cookie", b"origin", b"ETag", b"Content-Encoding"])
VALUES = st.binary(max_size=12).filter(lambda raw: not any(byte < 32 or byte == 127 for byte in raw))
END_TO_END = st.lists(st.tuples(NAMES, VALUES), max_size=12).map(tuple)
HOP = st.sampled_from([b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade"])


def asked(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead("GET", "/", "1.1", fields, NO_BODY)


def answered(*fields: tuple[bytes, bytes], status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"OK", fields, NO_BODY, keep_alive=True)


def location(value: bytes, *request: tuple[bytes, bytes]) -> bytes:
    head = asked(*(request or ((b"Host", b"app.example"),)))
    return client_fields(answered((b"Location", value)), head, dev_port=3001, close=False)[0][1]


@given(END_TO_END, st.lists(st.tuples(HOP, st.just(b"x")), max_size=3))
def test_end_to_end_fields_keep_order_case_and_number(fields: Fields, hops: list[tuple[bytes, bytes]]) -> None:
    mixed = (*fields, *hops)
    assert client_fields(answered(*mixed), asked(), dev_port=3001, close=False) == fields
    assert upstream_fields(asked(*mixed), ForwardContext("p"))[: len(fields)] == fields


def test_fields_named_in_connection_belong_to_it_but_not_those_that_say_where_a_message_ends() -> None:
    fields = (
        (b"Connection", b"close, X-Mine ,Content-Length, transfer-encoding, host"),
        (b"x-mine", b"1"),
        (b"Content-Length", b"0"),
        (b"Host", b"h"),
    )
    assert upstream_fields(asked(*fields), ForwardContext("p"))[:2] == fields[2:]
    assert client_fields(answered(*fields), asked(), dev_port=3001, close=False) == fields[2:]


def test_where_an_answer_ends_is_said_in_one_way() -> None:
    length, chunked = (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")
    assert client_fields(answered(length, chunked), asked(), dev_port=3001, close=False) == (chunked,)
    assert client_fields(answered(length, length), asked(), dev_port=3001, close=False) == (length,)


def test_the_last_answer_says_so() -> None:
    assert client_fields(answered(), asked(), dev_port=3001, close=True) == ((b"Connection", b"close"),)


def test_how_the_request_came_is_added_and_what_a_proxy_before_us_said_is_kept() -> None:
    first = dict(upstream_fields(asked((b"Host", b"app.example:8080")), ForwardContext("10.0.0.9")))
    assert first[b"X-Forwarded-For"] == b"10.0.0.9"
    assert first[b"X-Forwarded-Host"] == b"app.example:8080"
    assert (first[b"X-Forwarded-Proto"], first[b"X-Forwarded-Port"]) == (b"http", b"8080")
    before = (
        (b"Host", b"internal"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-forwarded-host", b"app.example"),
        (b"x-forwarded-proto", b"https"),
    )
    second = upstream_fields(asked(*before), ForwardContext("10.0.0.9"))
    assert (b"X-Forwarded-For", b"1.2.3.4, 10.0.0.9") in second
    assert [value for name, value in second if name.lower() == b"x-forwarded-host"] == [b"app.example"]
    assert [value for name, value in second if name.lower() == b"x-forwarded-proto"] == [b"https"]
    assert (b"X-Forwarded-Port", b"443") in second


def test_origin_goes_only_where_next_would_refuse_it() -> None:
    head = asked((b"Host", b"h"), (b"Origin", b"https://editor.example"))
    assert b"Origin" in dict(upstream_fields(head, ForwardContext("p")))
    assert b"Origin" not in dict(upstream_fields(head, ForwardContext("p", internal=True)))


@pytest.mark.parametrize("offered", [b"websocket", b"h2c, WebSocket"])
def test_a_handshake_keeps_what_it_is_made_of(offered: bytes) -> None:
    fields = ((b"Host", b"h"), (b"connection", b"keep-alive, Upgrade"), (b"upgrade", offered), (b"Origin", b"o"))
    sent = upstream_fields(asked(*fields), ForwardContext("p", upgrade=True))
    assert [field for field in sent if field[0] in {b"Connection", b"Upgrade"}] == [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
    ]
    switched = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", b"x"))
    assert client_fields(answered(*switched, status=101), asked(), dev_port=3001, close=True) == switched


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"http://localhost:3001/about?x=1#y", b"/about?x=1#y"),
        (b"https://LOCALHOST:3001/about", b"/about"),
        (b"http://127.0.0.1:3001", b"/"),
        (b"http://0.0.0.0:3001/", b"/"),
        (b"http://[::1]:3001/a", b"/a"),
        (b"http://[::]:3001?a", b"/?a"),
        (b"//localhost:3001/a", b"/a"),
        (b"/about", b"/about"),
        (b"http://localhost:3000/a", b"http://localhost:3000/a"),
        (b"http://localhost:30011/a", b"http://localhost:30011/a"),
        (b"http://localhost:3001.evil.example/a", b"http://localhost:3001.evil.example/a"),
        (b"http://localhost.evil.example:3001/", b"http://localhost.evil.example:3001/"),
        (
            b"https://elsewhere.example/?next=http://localhost:3001/",
            b"https://elsewhere.example/?next=http://localhost:3001/",
        ),
    ],
)
def test_a_location_is_rewritten_when_it_names_the_dev_servers_port(sent: bytes, seen: bytes) -> None:
    assert location(sent) == seen


def test_a_path_that_looks_like_a_host_does_not_become_one() -> None:
    assert location(b"http://localhost:3001//evil.example/x") == b"http://app.example//evil.example/x"
    assert location(b"http://localhost:3001/\\evil.example") == b"http://app.example/\\evil.example"
    proxied = ((b"Host", b"internal"), (b"X-Forwarded-Host", b"app.example"), (b"X-Forwarded-Proto", b"https"))
    assert location(b"http://localhost:3001//e", *proxied) == b"https://app.example//e"


@given(st.binary(max_size=60).filter(lambda raw: b"3001" not in raw))
def test_no_other_location_is_touched(value: bytes) -> None:
    assert location(value) == value


OWN = b"localhost:3001"


def sent(context: ForwardContext, *fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    return dict(upstream_fields(asked(*fields), context))


def test_a_server_that_knows_only_its_own_address_is_asked_with_it() -> None:
    head = sent(
        ForwardContext("p", dev_host=OWN), (b"Host", b"app.example:8080"), (b"Origin", b"http://app.example:8080")
    )
    assert (head[b"Host"], head[b"X-Forwarded-Host"]) == (OWN, b"app.example:8080")
    assert head[b"Origin"] == b"http://app.example:8080"


@pytest.mark.parametrize(
    "context",
    [ForwardContext("p", dev_host=OWN, compares_origin=True), ForwardContext("p", dev_host=OWN, upgrade=True)],
)
def test_where_origin_is_compared_with_that_address_the_previews_own_becomes_it_and_no_other(
    context: ForwardContext,
) -> None:
    came = (b"Host", b"app.example"), (b"X-Forwarded-Proto", b"https")
    assert sent(context, *came, (b"Origin", b"https://App.example"))[b"Origin"] == b"http://" + OWN
    for other in (b"https://elsewhere.example", b"null", b"http://app.example"):
        assert sent(context, *came, (b"Origin", other))[b"Origin"] == other


def test_other_servers_see_what_the_browser_said() -> None:
    head = sent(ForwardContext("p"), (b"Host", b"app.example"), (b"Origin", b"http://app.example"))
    assert (head[b"Host"], head[b"Origin"]) == (b"app.example", b"http://app.example")
