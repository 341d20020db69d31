"""Where a JSON file is broken, in words that a person can act on."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.json_errors import LINE_CHARACTERS, conflict, describe

CASES = [
    ('{"name":"x",}', 1, 12, 'a comma before "}" (JSON takes no trailing comma)'),
    ('{\n  "a": [1, 2,],\n  "b": 1\n}', 2, 13, 'a comma before "]" (JSON takes no trailing comma)'),
    (
        '{\n  "a": 1\n  "react-dom": "19"\n}',
        3,
        3,
        '"react-dom" without a comma before it (JSON takes one between two values)',
    ),
    ("{ 'a': 1 }", 1, 3, '"\'": a name in the wrong quotes (JSON takes double quotes)'),
    ("{ a: 1 }", 1, 3, "the name a without quotes (JSON takes names in double quotes)"),
    ('{"a" 1}', 1, 6, '"1" after the name "a" (JSON takes a ":" and a value)'),
    ('{"a":}', 1, 6, '"}" where a value after "a": has to be'),
    ('{"a": 1,, "b": 2}', 1, 9, "two commas in a row (JSON takes a value between them)"),
    ('{,"a": 1}', 1, 2, 'a comma after "{"'),
    ('{\n  "a": 1\n', 3, 1, 'the file ends before the object opened in line 1 is closed with "}"'),
    ('{"a": [1, 2}', 1, 12, '"}" where the list opened in line 1 is to be closed with "]"'),
    ('{"a": "x\n}', 1, 7, 'the string "x has no closing quote'),
    ('{"a": "C:\\dir"}', 1, 10, r'"\d" in a string (JSON takes \" \\ \/ \b \f \n \r \t and \u with 4 digits)'),
    ('{"a": "x\ty"}', 1, 9, "a tab in a string (JSON takes it as \\t)"),
    (
        '{"a": undefined}',
        1,
        7,
        "undefined without quotes (JSON takes strings in double quotes, numbers, true, false and null)",
    ),
    ('{"a": 01}', 1, 7, "01, which is not a JSON number (valid: numbers such as 1, -2.5 and 1e6)"),
    ('{"a": 1} x', 1, 10, '"x" after the end of the outermost value (JSON takes one value)'),
    ('{"a": 1}\n}', 2, 1, '"}" after the end of the outermost value (JSON takes one value)'),
    ('{\n  // why\n  "a": 1\n}', 2, 3, "a comment (JSON takes none)"),
    ("", 1, 1, "the file is empty (it takes an object; {} is the smallest)"),
    (
        '{\n<<<<<<< HEAD\n  "a": 1\n=======\n  "a": 2\n>>>>>>> other\n}',
        2,
        1,
        '"<<<<<<<", the mark of a merge conflict (keep one of the two sides and delete the marks)',
    ),
    ('\ufeff{"a": 1,}', 1, 8, 'a comma before "}" (JSON takes no trailing comma)'),
]


@pytest.mark.parametrize(("text", "line", "column", "found"), CASES)
def test_an_error_is_named_at_its_place_with_its_own_line(text: str, line: int, column: int, found: str) -> None:
    error = describe("package.json", text.encode())
    assert error is not None
    assert (error.line, error.column, error.found) == (line, column, found)
    assert error.message == f"package.json line {line}, column {column}: {found}"
    assert error.line_text == text.removeprefix("\ufeff").split("\n")[line - 1]
    assert error.pointer.index("^") == column - 1


def test_bytes_that_are_not_utf_8_are_an_error_at_their_place() -> None:
    error = describe("package.json", '{\n"ä": "'.encode() + b'\xe9"}')
    assert error is not None
    assert error.message == "package.json line 2, column 7: the byte 0xe9 (the file has to be UTF-8)"


def test_what_typescript_takes_in_its_own_file_is_no_error_there() -> None:
    text = '{\n  // strict\n  "a": [1, 2,], /* more */\n  "b": "//",\n}'
    assert describe("tsconfig.json", text.encode(), jsonc=True) is None
    assert describe("package.json", text.encode()) is not None
    cut_off = describe("tsconfig.json", b'{ /* "a": 1 }', jsonc=True)
    assert cut_off is not None
    assert cut_off.found == "a comment that never ends"
    two = describe("tsconfig.json", b'{"a": 1,,}', jsonc=True)
    assert two is not None
    assert two.found == "two commas in a row (JSON takes a value between them)"


def test_a_merge_conflict_is_found_in_a_lock_file_that_is_no_json() -> None:
    found = conflict("pnpm-lock.yaml", b"a:\n  b: 1\n<<<<<<< HEAD\n  c: 2\n")
    assert found is not None
    assert found.report.startswith('pnpm-lock.yaml line 3, column 1: "<<<<<<<", the mark of a merge conflict')
    assert found.report.endswith("\n<<<<<<< HEAD\n^")
    assert conflict("pnpm-lock.yaml", b"a:\n  b: 1\n") is None


def test_of_an_endless_line_the_part_around_the_error_is_shown() -> None:
    text = json.dumps({f"name{number}": number for number in range(2000)})[:-1] + ",}"
    error = describe("package-lock.json", text.encode())
    assert error is not None
    assert len(error.line_text) == LINE_CHARACTERS + 1
    assert error.line_text[error.pointer.index("^")] == ","
    assert error.column == len(text) - 1


def test_a_file_that_is_nested_deeper_than_any_stack_is_still_told() -> None:
    error = describe("package.json", b'{"a":' * 50_000)
    assert error is not None
    assert error.found.startswith("the file ends before the object opened in line 1")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES, st.sampled_from([None, 2]))
def test_a_valid_file_has_no_error(value: object, indent: int | None) -> None:
    assert describe("package.json", json.dumps(value, indent=indent).encode()) is None


@given(VALUES, st.integers(0, 200), st.sampled_from(list("{}[],:\"'\\/ax1 .\n")))
@example({"a": 1}, 1, "/")
def test_every_file_that_json_refuses_has_an_error_at_a_place_in_it(value: object, at: int, put: str) -> None:
    text = json.dumps(value)
    broken = f"{text[:at]}{put}{text[at + 1 :]}"
    try:
        json.loads(broken)
        orjson.loads(broken)
    except ValueError:
        error = describe("package.json", broken.encode())
        if error is None:
            assert "\\u" in broken  # a half character is valid JSON, and only orjson refuses it
            return
        assert error.line <= broken.count("\n") + 1
        assert error.column <= len(broken) + 1
    else:
        assert describe("package.json", broken.encode()) is None
