import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import BadRange
from control.files.blobs import requested


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 95)),
        ("bytes=-5", (95, 5)),
        ("bytes=-500", (0, 100)),
        ("bytes=90-500", (90, 10)),
        (" Bytes = 99-99 ", (99, 1)),
        (None, None),
        ("bytes=-", None),
        ("bytes=9-5", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-9", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_is_the_part_it_names_and_what_is_none_is_ignored(
    header: str | None, part: tuple[int, int] | None
) -> None:
    assert requested(header, 100) == part


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-1", 0)],
)
def test_a_range_without_a_byte_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(BadRange) as refused:
        requested(header, size)
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_lies_within_the_bytes(size: int, first: int, last: int) -> None:
    try:
        part = requested(f"bytes={first}-{last}", size)
    except BadRange:
        assert first >= size
        return
    if part is None:
        assert last < first
    else:
        assert part == (first, min(last, size - 1) - first + 1)
