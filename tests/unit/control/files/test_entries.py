import gzip

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import NotAcceptable
from control.files import entries
from control.files.entries import INLINE_BYTES, StoredFile, as_lines, as_object, gzipped, in_chunks, is_inline, type_of

AT = "2026-01-02T03:04:05.000Z"


def row(path: str, text: str | None = "x") -> StoredFile:
    return StoredFile(path, text, "0" * 64, 1, "tsx", AT, AT, 3)


@pytest.mark.parametrize(
    ("data", "inline"),
    [
        (b"", True),
        (b"a\0b", True),
        ("é".encode(), True),
        (b"\xff", False),
        (b"a" * INLINE_BYTES, True),
        (b"a" * (INLINE_BYTES + 1), False),
    ],
)
def test_what_is_utf8_and_small_goes_out_inline(data: bytes, *, inline: bool) -> None:
    assert is_inline(data) is inline


@pytest.mark.parametrize(
    ("path", "kind"),
    [("app/Page.TSX", "tsx"), (".env", "env"), ("a.b/Dockerfile", None), ("x.", None), ("a.test.ts", "ts")],
)
def test_a_file_without_a_type_has_that_of_its_name(path: str, kind: str | None) -> None:
    assert type_of(path) == kind


def test_an_entry_has_every_column_and_a_blob_no_content() -> None:
    assert orjson.loads(entries.entry(row("a.tsx"))) == {
        "filepath": "a.tsx",
        "content": "x",
        "content_hash": "0" * 64,
        "size": 1,
        "file_type": "tsx",
        "created_at": AT,
        "updated_at": AT,
        "revision": 3,
    }
    assert "content" not in orjson.loads(entries.entry(row("a.png", None)))


paths = st.lists(st.text(min_size=1, max_size=5), max_size=5)


@given(paths, paths)
def test_a_stream_is_its_entries_its_deletions_and_an_end_that_counts_them(there: list[str], gone: list[str]) -> None:
    *lines, end = map(orjson.loads, b"".join(as_lines(map(row, there), gone)).splitlines())
    assert [line["filepath"] for line in lines] == there + gone
    assert [line.get("deleted", False) for line in lines] == [False] * len(there) + [True] * len(gone)
    assert end == {"end": True, "count": len(there) + len(gone)}


@given(paths, st.none() | paths)
def test_an_object_is_json_whatever_it_holds(there: list[str], gone: list[str] | None) -> None:
    answer = orjson.loads(b"".join(as_object(map(row, there), gone)))
    assert answer["success"] is True
    assert [entry["filepath"] for entry in answer["files"]] == there
    assert answer.get("deleted") == gone


def test_an_object_over_the_contracts_limit_says_to_ask_for_a_stream() -> None:
    huge = (row(str(number), "x" * 65_000) for number in range(1_100))
    with pytest.raises(NotAcceptable, match="application/x-ndjson"):
        sum(map(len, as_object(huge, None)))


@given(st.lists(st.binary(max_size=100), max_size=50))
def test_chunks_and_their_gzip_are_the_same_bytes(pieces: list[bytes]) -> None:
    assert b"".join(in_chunks(pieces)) == b"".join(pieces)
    assert gzip.decompress(b"".join(gzipped(in_chunks(pieces)))) == b"".join(pieces)


def test_chunks_are_as_large_as_is_worth_a_write_and_not_much_larger() -> None:
    sizes = [len(chunk) for chunk in in_chunks([b"x" * 10_000] * 100)]
    assert all(entries.CHUNK_BYTES <= size < entries.CHUNK_BYTES + 10_000 for size in sizes[:-1])
