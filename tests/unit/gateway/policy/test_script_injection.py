"""Which answers get the script's tag, and where in their bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.gateway.http.bodies import scanner_for
from agent.gateway.http.heads import Body, Chunked, Length, RequestHead, UntilClose, parse_request, parse_response
from agent.gateway.policy.request import Request
from agent.gateway.policy.script_injection import (
    SEARCH_LIMIT,
    TagInserter,
    is_injectable,
    may_inject,
    script_tag,
    with_longer_body,
)

TAG = b'<script src="/__preview/shim.js"></script>'
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"


def with_tag(html: bytes, marked: bytes = b"@") -> bytes:
    return whole(html).replace(TAG, marked)


def whole(html: bytes) -> bytes:
    inserter = TagInserter(UntilClose())
    assert inserter.feed(html, whole=True)
    return inserter.result(TAG)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (b"<!doctype html><html><head><title>a", b"<!doctype html><html><head>@<title>a"),
        (
            b"<!DOCTYPE html><HTML lang=en><HEAD\n data-x='>'><p>",
            b"<!DOCTYPE html><HTML lang=en><HEAD\n data-x='>'>@<p>",
        ),
        (b"<html a=\"<head>\" b='<head>' c=<head d><head>", b"<html a=\"<head>\" b='<head>' c=<head d><head>@"),
        (b"<html a=x'>'<head>", b"<html a=x'>'<head>"),
        (b"<html/><head/>x", b"<html/><head/>@x"),
        (b'<html a= ><head b ="x"   >x', b'<html a= ><head b ="x"   >@x'),
        (b"<!-- <head> --><head>x", b"<!-- <head> --><head>@x"),
        (b"<!--><head>x", b"<!--><head>@x"),
        (b"<!---><head>x", b"<!---><head>@x"),
        (b"<!-- --!><head>x", b"<!-- --!><head>@x"),
        (b"<?xml version='1.0'?>\n<html><head>", b"<?xml version='1.0'?>\n<html><head>@"),
        (b"\xef\xbb\xbf <head>x", b"\xef\xbb\xbf <head>@x"),
        (b"<html><body><head>", b"<html>@<body><head>"),
        (b"<html>\n<!-- a --><title>x", b"<html>\n<!-- a -->@<title>x"),
        (b"<header>x", b"@<header>x"),
        (b"<html><header>x", b"<html>@<header>x"),
        (b"<p>hello", b"@<p>hello"),
        (b"hello <head>", b"hello <head>"),
        (b"<html>hello", b"<html>hello"),
        (b'{"a": "<head>"}', b'{"a": "<head>"}'),
        (b"</p><head>", b"</p><head>"),
        (b"< head>", b"< head>"),
        (b"<head", b"<head"),
        (b"<!doctype html>", b"<!doctype html>"),
        (b"", b""),
        (b"\xfe\xff\x00<\x00h", b"\xfe\xff\x00<\x00h"),
    ],
)
def test_the_tag_stands_where_the_parser_begins_the_head(html: bytes, expected: bytes) -> None:
    assert with_tag(html) == expected


def test_a_place_that_comes_too_late_is_none() -> None:
    late = b" " * (SEARCH_LIMIT - 6) + b"<head>"
    assert whole(late + b"x") == late + TAG + b"x"
    assert whole(b" " + late + b"x") == b" " + late + b"x"


PIECES = st.sampled_from(
    [
        *(b"<!doctype html>", b"<html>", b"<html a=\"b>c\" d='e' f=g h>", b"<head>", b"<head a=b>", b"<body>", b"<p>"),
        *(
            b" ",
            b"\n",
            b"text",
            b"<!-- c -->",
            b"<!-->",
            b"<!--",
            b"-->",
            b"<",
            b">",
            b"\xef\xbb\xbf",
            b"</head>",
            b"'",
        ),
        *(b"<html a='", b'<head ="', b"<title>x</title>", b"<?x?>", b"\xff", b"<header>", b"=", b'"', b"/"),
    ]
)
DOCUMENTS = st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=60)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%X;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\nX: y\r\n\r\n"


def content(raw: bytes) -> bytes:
    """A chunked body's content, read apart from the code that is tested."""
    found = b""
    while not raw.startswith(b"0\r\n"):
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        found, raw = found + raw[:size], raw[size:]
        assert raw.startswith(b"\r\n")
        raw = raw[2:]
    assert raw == b"0\r\nX: y\r\n\r\n"
    return found


def passed_on(body: Body, arrivals: list[bytes]) -> bytes:
    """As the proxy does: collect until it is decided, then pass on."""
    inserter, ends = TagInserter(body), scanner_for(body)
    out = b""
    decided = False
    for number, data in enumerate(arrivals):
        assert ends.feed(data) == len(data)
        last = ends.done or number == len(arrivals) - 1
        if decided:
            out += data
        elif inserter.feed(data, whole=last):
            decided = True
            out += inserter.result(TAG)
    return out


CUTS = st.lists(st.integers(0, 400), max_size=8)


@given(DOCUMENTS, CUTS)
@example(b'<html a="x>y"><head>', [11])
@example(b"<!--->x--><head>", [5])
def test_the_same_bytes_get_the_tag_at_the_same_place_however_they_arrive(html: bytes, cuts: list[int]) -> None:
    assert passed_on(UntilClose(), cut(html, cuts)) == whole(html)
    assert passed_on(Length(len(html)), cut(html, cuts)) == whole(html)


@given(DOCUMENTS, CUTS, CUTS)
@example(b"<head>x", [6], [])
def test_so_do_chunked_ones_however_they_were_cut_into_chunks(html: bytes, chunks: list[int], cuts: list[int]) -> None:
    raw = chunked(cut(html, chunks))
    shown = passed_on(Chunked(), cut(raw, cuts))
    assert content(shown) == whole(html)
    if whole(html) == html:
        assert shown == raw


@given(DOCUMENTS)
def test_without_the_tag_the_bytes_are_the_original(html: bytes) -> None:
    shown = whole(html)
    assert shown == html or (shown.count(TAG) == 1 and shown.replace(TAG, b"") == html)


def test_all_chunks_but_one_stay_as_they_were_cut() -> None:
    raw = chunked([b"<html><head>", b"<title>", b"x"])
    shown = passed_on(Chunked(), [raw])
    assert shown == raw.replace(b"C;a=b\r\n<html><head>", b"%x;a=b\r\n<html><head>%b" % (12 + len(TAG), TAG))


@pytest.mark.parametrize(
    ("status_and_fields", "expected"),
    [
        (b"200 OK\r\nContent-Type: text/html", True),
        (b"404 Not Found\r\nContent-Type: TEXT/HTML;charset=UTF-8", True),
        (b"500 Broken\r\nContent-Type: text/html; charset=windows-1252", True),
        (b"200 OK\r\nContent-Type: text/html\r\nContent-Encoding: identity", True),
        (b"200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked", True),
        (b"200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", False),
        (b"200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: gzip, chunked", False),
        (b"200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: gzip", False),
        (b"200 OK\r\nContent-Type: text/html\r\nContent-Length: 0", False),
        (b"200 OK\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=a.html", False),
        (b"200 OK\r\nContent-Type: text/html; charset=utf-16", False),
        (b"200 OK\r\nContent-Type: application/xhtml+xml", False),
        (b"200 OK\r\nContent-Type: text/plain", False),
        (b"200 OK", False),
        (b"200 OK\r\nContent-Type: text/html\r\nContent-Type: text/plain", False),
        (b"204 No Content\r\nContent-Type: text/html", False),
        (b"206 Partial Content\r\nContent-Type: text/html", False),
        (b"302 Found\r\nContent-Type: text/html", False),
        (b"304 Not Modified\r\nContent-Type: text/html", False),
    ],
)
def test_only_whole_readable_pages_are_changed(status_and_fields: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_injectable(parse_response(b"HTTP/1.1 " + status_and_fields, method="GET")) == expected


def head(line: bytes) -> RequestHead:
    return parse_request(line + b"\r\nHost: h")


@pytest.mark.parametrize(
    ("line", "mode", "expected"),
    [
        (b"GET / HTTP/1.1", "navigate", True),
        (b"POST /form HTTP/1.1", "navigate", True),
        (b"GET / HTTP/1.0", "navigate", False),
        (b"HEAD / HTTP/1.1", "navigate", False),
        (b"GET / HTTP/1.1", "cors", False),
        (b"GET /_next/x HTTP/1.1", "navigate", False),
    ],
)
def test_only_what_a_person_is_shown_is_asked_for_uncompressed(line: bytes, mode: str, expected: bool) -> None:  # noqa: FBT001
    read = head(line)
    assert may_inject(Request(read.method, read.target, {"sec-fetch-mode": mode}), read) == expected


@pytest.mark.parametrize(
    ("policy", "nonce"),
    [
        (b"script-src 'self' 'nonce-abc+/9=='", b"abc+/9=="),
        (b"default-src 'self'; SCRIPT-SRC 'nonce-a'", b"a"),
        (b"default-src 'nonce-d'; style-src 'nonce-s'", b"d"),
        (b"script-src 'nonce-a'; script-src-elem 'nonce-e'", b"e"),
        (b"style-src 'nonce-s'", None),
        (b"script-src 'self'; default-src 'nonce-d'", None),
        (b"script-src 'nonce-\"><img>'", None),
    ],
)
def test_the_tag_carries_the_pages_own_nonce(policy: bytes, nonce: bytes | None) -> None:
    made = script_tag(((b"Content-Security-Policy", policy),))
    assert made == (TAG if nonce is None else TAG.replace(b"></", b' nonce="%b"></' % nonce))


def test_what_described_the_original_bytes_is_not_said_of_the_changed_ones() -> None:
    raw = (
        HTML + b'Content-Length: 100\r\nETag: "a"\r\nLast-Modified: b\r\nAccept-Ranges: bytes\r\nDigest: c\r\nX-App: d'
    )
    before = parse_response(raw, method="GET")
    after = with_longer_body(before, 42)
    assert after.fields == (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Length", b"142"),
        (b"X-App", b"d"),
    )
    assert after.body == Length(100)
