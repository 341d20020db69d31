"""Lines out of whatever a child prints, kept and followed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.process.output import CUT, LINE_BYTES, LINES_AHEAD, LINES_KEPT, LineSplitter, LogTail


def lines_of(*chunks: bytes) -> list[str]:
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"o", b"ne\nt", b"wo"), ["one", "two"]),
        ((b"one\r\ntwo\r\n",), ["one", "two"]),
        ((b"10 %\r50 %\r100 %\n",), ["100 %"]),
        ((b"a\n\nb\n",), ["a", "", "b"]),
        ((b"\x1b[32m\xe2\x9c\x93\x1b[0m Ready\n",), ["✓ Ready"]),
        ((b"\x1b[?25h\n", b"\x1b]8;;http://x\x07link\x1b]8;;\x07\n"), ["link"]),
        ((b"caf\xc3", b"\xa9\n"), ["café"]),
        ((b"bad \xff byte\n",), ["bad \ufffd byte"]),
    ],
)
def test_lines_are_whole_and_plain(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert lines_of(*chunks) == lines


def test_a_line_without_an_end_is_cut_and_not_kept_in_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65536) == []
    assert len(splitter._open) == LINE_BYTES

    assert splitter.feed(b"\nnext\n") == ["x" * LINE_BYTES + CUT, "next"]


def test_a_line_of_just_the_limit_is_not_cut() -> None:
    assert lines_of(b"x" * LINE_BYTES + b"\n") == ["x" * LINE_BYTES]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_where_the_chunks_are_cut_does_not_matter(output: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    chunks = [output[start:end] for start, end in pairwise(places)]

    assert lines_of(*chunks) == lines_of(output)


def test_the_last_lines_are_kept() -> None:
    tail = LogTail()
    for number in range(LINES_KEPT + 5):
        tail.add(str(number))

    assert tail.lines() == [str(number) for number in range(5, LINES_KEPT + 5)]


async def test_a_follower_gets_what_comes_and_not_what_was() -> None:
    tail = LogTail()
    tail.add("before")
    async with aclosing(tail.follow()) as following, asyncio.timeout(5):
        tail.add("after")

        assert await anext(following) == "after"


async def test_a_slow_follower_loses_the_oldest_and_is_told_how_many() -> None:
    tail = LogTail()
    async with aclosing(tail.follow()) as following, asyncio.timeout(5):
        for number in range(LINES_AHEAD + 7):
            tail.add(str(number))

        assert await anext(following) == "(7 lines were left out: this reader is too slow)"
        assert await anext(following) == "7"


async def test_a_follower_that_left_is_forgotten() -> None:
    tail = LogTail()
    async with aclosing(tail.follow()) as following, asyncio.timeout(5):
        tail.add("one")
        await anext(following)

    assert not tail._followers


def test_a_follower_that_nobody_read_is_forgotten() -> None:
    tail = LogTail()
    tail.follow()

    assert not tail._followers
