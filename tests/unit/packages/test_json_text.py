"""Where and why a text is no JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.packages.json_text import conflict, fault

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('{"name":"x",}', 1, 12, "there is a comma before the closing '}'"),
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma is missing before this"),
        ('{\n  "a" 1\n}', 2, 7, "a colon is missing after the name"),
        ("{\n  'a': 1\n}", 2, 3, "a name in double quotes is expected"),
        ("{\"a\": 'b'}", 1, 7, "strings take double quotes"),
        ('{\n  // no\n  "a": 1}', 2, 3, "a name in double quotes is expected"),
        ('{"a": // no\n 1}', 1, 7, "comments are not allowed"),
        ('{"a": [1, 2}', 1, 12, "a comma is missing before this"),
        ('{"a": 1', 1, 1, "the object that begins here is not closed"),
        ('{"a": "b\n"}', 1, 7, "the string that begins here is not closed, or has a character that it may not have"),
        ("", 1, 1, "it is empty"),
        ("{} x", 1, 4, "there is something after the end of the value"),
        ('{"a": }', 1, 7, "a value is expected"),
        ('{\n<<<<<<< HEAD\n"a": 1\n=======\n', 2, 1, "a merge conflict is not resolved"),
    ],
)
def test_the_place_and_the_reason_are_told(text: str, line: int, column: int, message: str) -> None:
    found = fault(text.encode())

    assert found is not None
    assert (found.message, found.line, found.column) == (message, line, column)
    assert found.text == (text.splitlines() or [""])[line - 1]


@given(VALUES, st.integers(0, 4))
def test_what_is_json_has_no_fault(value: Any, indent: int) -> None:
    assert fault(json.dumps(value, indent=indent).encode()) is None
    assert fault(json.dumps(value, ensure_ascii=False).encode(), comments=True) is None


@given(VALUES, st.data())
def test_what_orjson_refuses_has_one(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text)))
    broken = (text[:at] + data.draw(st.sampled_from(['"', "{", "}", ",", ":", "x", ""])) + text[at + 1 :]).encode()
    try:
        orjson.loads(broken)
    except orjson.JSONDecodeError:
        assert fault(broken) is not None


def test_a_tsconfig_may_have_comments_and_trailing_commas() -> None:
    text = b'{\n  // for Next\n  "a": [1, 2,], /* and\n so on */\n}\n'
    assert fault(text, comments=True) is None
    assert fault(text) is not None


def test_a_long_line_is_shown_around_the_place() -> None:
    found = fault(b'{"a": "' + b"x" * 5000 + b'", "b": nothing, "c": "' + b"y" * 5000 + b'"}')
    assert found is not None
    assert "nothing" in found.text
    assert len(found.text) < 200


def test_a_conflict_is_found_in_a_lock_file() -> None:
    found = conflict(b"a:\n  b: 1\n<<<<<<< HEAD\n  c: 2\n")
    assert found is not None
    assert found.line == 3
    assert conflict(b"a: 1\n") is None
