"""Bytes become entries, or an error that names what is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BackendError, BadAnswer
from agent.sync.protocol.entries import Blob, Deletion, End, Inline, Item, parse_json, parse_line


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def items(answer: object, *, delta: bool = False) -> list[Item]:
    return list(parse_json(orjson.dumps(answer), delta=delta))


def whole(*files: object) -> dict[str, Any]:
    return {"success": True, "files": list(files)}


def test_a_row_of_the_plain_form_is_a_file() -> None:
    row = {
        "id": 7,
        "app_id": "demo",
        "filepath": "app/page.tsx",
        "content": "export default 1 // ü",
        "content_hash": None,
        "file_type": "tsx",
        "updated_at": "2026-11-22T10:00:00Z",
        "size": "big",
        "deleted": None,
    }
    data = row["content"].encode()  # type: ignore[attr-defined]

    assert items(whole(row)) == [Inline("app/page.tsx", data, sha(data))]


def test_a_file_of_no_bytes_is_a_file() -> None:
    assert items(whole({"filepath": "empty", "content": ""})) == [Inline("empty", b"", sha(b""))]


def test_base64_is_decoded() -> None:
    entry = {"filepath": "i.png", "content": base64.b64encode(b"\xff\0").decode(), "encoding": "base64"}

    assert items(whole(entry)) == [Inline("i.png", b"\xff\0", sha(b"\xff\0"))]


def test_an_entry_without_content_is_a_blob() -> None:
    entry = {"filepath": "big.mp4", "content_hash": sha(b"x").upper(), "size": 1}

    assert items(whole(entry)) == [Blob("big.mp4", sha(b"x"), 1)]


def test_a_delta_names_deletions() -> None:
    answer = {"success": True, "files": [], "deleted": ["a", "../b"]}

    assert items(answer, delta=True) == [Deletion("a"), Deletion("../b")]
    assert items(answer) == [], "a whole set names none; the key is some other backend's column"


def test_a_path_that_utf8_cannot_spell_comes_through_and_the_rest_with_it() -> None:
    body = b'{"success": true, "files": [{"filepath": "a\\ud800", "content": ""}, {"filepath": "b", "content": ""}]}'

    assert [item.path for item in parse_json(body, delta=False)] == ["a\ud800", "b"]


FORMS = {
    "null": "object",
    "[]": "object",
    '"text"': "object",
    "1": "object",
    "{}": "success",
    '{"success": 1, "files": []}': "success",
    '{"success": "true", "files": []}': "success",
    '{"success": true}': "files",
    '{"success": true, "files": {}}': "files",
    '{"success": true, "files": null}': "files",
    '{"success": true, "files": [null]}': r"files\[0\]",
    '{"success": true, "files": [[]]}': r"files\[0\]",
    '{"success": true, "files": [], "deleted": {}}': "deleted",
    '{"success": true, "files": [], "deleted": [1]}': r"deleted\[0\]",
    '{"success": true, "files": [], "deleted": null}': "deleted",
    "<html><body>Bad gateway</body></html>": "not JSON.*Bad gateway",
    "": "not JSON",
    '{"success": true, "files": [': "not JSON",
    '{"success": true, "files": []} trailing': "not JSON",
    '{"success": true, "files": [], "x": NaN}': "not JSON",
    '{"success": true, "files": [], "x": -Infinity}': "not JSON",
    '{"success": true, "files": [], "x": ' + "9" * 5000 + "x}": "not JSON",
    "[" * 100_000: "not JSON",
    '{"a":' * 100_000: "not JSON",
    "\ufeff{}": "not JSON",
}


@pytest.mark.parametrize("body", FORMS, ids=range(len(FORMS)))
def test_a_wrong_form_is_named(body: str) -> None:
    with pytest.raises(BadAnswer, match=FORMS[body]):
        list(parse_json(body.encode(), delta=True))


def test_bytes_that_are_no_text_are_no_json() -> None:
    with pytest.raises(BadAnswer, match="not JSON"):
        list(parse_json(b"\xff\xfe\x00{", delta=False))


GOOD = {"filepath": "app/page.tsx", "content": "x"}
BROKEN = [
    ({"filepath": None}, "filepath"),
    ({"filepath": 1}, "filepath"),
    ({"filepath": ["a"]}, "filepath"),
    ({"content": 1}, "content that is a number"),
    ({"content": ["x"]}, "content that is an array"),
    ({"content": {"a": 1}}, "content that is an object"),
    ({"content": True}, "content that is true or false"),
    ({"content": None}, "neither content"),
    ({"content": None, "content_hash": "1" * 64}, "neither content"),
    ({"content": None, "size": 1}, "neither content"),
    ({"content": None, "content_hash": "1" * 64, "size": "1"}, "neither content"),
    ({"content": None, "content_hash": "1" * 64, "size": 1.0}, "neither content"),
    ({"content": None, "content_hash": "1" * 64, "size": -1}, "neither content"),
    ({"content": None, "content_hash": "1" * 64, "size": True}, "neither content"),
    ({"content_hash": "1" * 64}, "does not match"),
    ({"content_hash": ""}, "neither null nor"),
    ({"content_hash": 5}, "neither null nor"),
    ({"content_hash": "g" * 64}, "neither null nor"),
    ({"content_hash": "1" * 40}, "neither null nor"),
    ({"content_hash": "٣" * 64}, "neither null nor"),
    ({"encoding": "rot13"}, "encoding"),
    ({"encoding": []}, "encoding"),
    ({"encoding": 1}, "encoding"),
    ({"encoding": "base64", "content": "!!!!"}, "not base64"),
    ({"encoding": "base64", "content": "QQ"}, "not base64"),
    ({"encoding": "base64", "content": "ü"}, "not base64"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
def test_a_wrong_field_refuses_the_answer_and_is_named(change: dict[str, Any], said: str) -> None:
    entry = GOOD | change

    with pytest.raises(BadAnswer, match=said):
        items(whole(GOOD, entry))
    with pytest.raises(BadAnswer, match=said):
        parse_line(orjson.dumps(entry), 0, delta=False)


def test_content_that_utf8_cannot_spell_refuses_the_answer() -> None:
    with pytest.raises(BadAnswer, match=r"files\[0\] \(a\).*not valid Unicode"):
        list(parse_json(b'{"success": true, "files": [{"filepath": "a", "content": "\\udc00"}]}', delta=False))
    with pytest.raises(BadAnswer, match="not valid Unicode"):
        list(parse_json(b'{"success": true, "files": [{"filepath": "a", "content": "\xff"}]}', delta=False))


@pytest.mark.parametrize(("error", "shown"), [("no rows", "no rows"), (None, "without a reason"), ({"a": 1}, "'a'")])
def test_the_backends_own_failure_is_no_fault_of_the_form(error: object, shown: str) -> None:
    with pytest.raises(BackendError, match=shown) as caught:
        items({"success": False, "error": error})

    assert caught.type is BackendError


def test_a_message_of_the_backends_is_shown_short() -> None:
    with pytest.raises(BackendError) as caught:
        items({"success": False, "error": "x" * 100_000})

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"filepath": "a", "content": ""}', Inline("a", b"", sha(b""))),
        ('{"filepath": "a", "content": "", "deleted": false}', Inline("a", b"", sha(b""))),
        ('{"filepath": "a", "deleted": true}', Deletion("a")),
        ('{"end": true, "count": 3}', End(3)),
    ],
)
def test_a_line_of_a_stream_is_one_entry(line: str, expected: object) -> None:
    assert parse_line(line.encode(), 0, delta=True) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"filepath": "a", "deleted": 1}', "deletion"),
        ('{"deleted": true}', "deletion"),
        ('{"end": true}', "end"),
        ('{"end": false, "count": 1}', "end"),
        ('{"end": true, "count": -1}', "end"),
        ('{"end": true, "count": "1"}', "end"),
        ('{"end": 1, "count": 1}', "end"),
        ("[]", "line 5"),
        ('"a"', "line 5"),
        ('{"filepath": "a", "con', "incomplete"),
    ],
)
def test_a_wrong_line_is_named(line: str, said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        parse_line(line.encode(), 4, delta=True)


def test_a_whole_set_cannot_name_deletions() -> None:
    with pytest.raises(BadAnswer, match="whole set"):
        parse_line(b'{"filepath": "a", "deleted": true}', 0, delta=False)


CONTENTS = st.binary(max_size=40) | st.text(max_size=40).map(str.encode)


@given(files=st.dictionaries(st.text(max_size=20), CONTENTS, max_size=6), hashes=st.booleans())
def test_what_is_said_is_what_is_heard(files: dict[str, bytes], *, hashes: bool) -> None:
    entries = [
        {
            "filepath": path,
            "content": base64.b64encode(data).decode(),
            "encoding": "base64",
            "content_hash": sha(data) if hashes else None,
        }
        for path, data in files.items()
    ]
    expected = [Inline(path, data, sha(data)) for path, data in files.items()]

    assert items(whole(*entries)) == expected
    assert [parse_line(orjson.dumps(entry), 0, delta=False) for entry in entries] == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["success", "files", "deleted", "filepath", "content", "content_hash", "encoding", "size", "end", "count", "error"]
)


@given(value=st.dictionaries(FIELDS, ANYTHING) | ANYTHING, delta=st.booleans(), inside=st.booleans())
def test_anything_at_all_is_items_or_an_error_of_ours(value: Any, *, delta: bool, inside: bool) -> None:
    answer = {"success": True, "files": [GOOD | value if isinstance(value, dict) else value]} if inside else value
    body = json.dumps(answer).encode()

    for parse in (
        lambda: list(parse_json(body, delta=delta)),
        lambda: parse_line(json.dumps(value).encode(), 0, delta=delta),
    ):
        with suppress(BackendError):
            parse()


@given(st.binary(max_size=200))
def test_any_bytes_are_items_or_an_error_of_ours(body: bytes) -> None:
    with suppress(BackendError):
        list(parse_json(body, delta=True))
