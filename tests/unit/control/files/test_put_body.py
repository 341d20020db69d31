import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.paths import MAX_FILE_BYTES, MAX_FILES, overlapping, refusal
from control.errors import BadRequest, RequestError, TooLarge
from control.files.entries import upsert
from control.files.put_body import parse


def body(**keys: object) -> bytes:
    return json.dumps(keys).encode()


def file(path: object = "a.tsx", content: object = "x", **keys: object) -> dict[str, object]:
    return {"filepath": path, "content": content} | keys


def test_a_call_is_files_and_deletions() -> None:
    call = parse(body(files=[file("a", "é"), file("b", "AAEC", encoding="base64", file_type="bin")], deleted=["c"]))
    assert call.files == [upsert("a", "é".encode()), upsert("b", b"\0\1\2", "bin")]
    assert call.deleted == ["c"]


@pytest.mark.parametrize("text", [b'{"files":[]}', b' {\n"deleted" : [ ] ,"x":{"y":[1]}, "files" : [\t] } \n'])
def test_white_space_unknown_keys_and_emptiness_are_fine(text: bytes) -> None:
    call = parse(text)
    assert (call.files, call.deleted) == ([], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"files":[}', "not JSON"),
        (b'{"files":[],}', "not JSON"),
        (b'{"files":[] "deleted":[]}', "not JSON"),
        (b'{"files":[]} x', "continues after the end of the object"),
        (b"{1:2}", "a key in quotes"),
        (b'{"files":[NaN]}', "NaN is not JSON"),
        (b'{"files":' + b"[" * 100_000, "nested too deep|recursion"),
        (b'{"files":[], "x": ' + b"1" * 5_000 + b"}", "not JSON"),
        (b'"\xff"', "not UTF-8"),
        (b"[]", "is an array, not a JSON object"),
        (b"null", "is nothing, not a JSON object"),
        (b"{}", "neither files nor deleted"),
        (b'{"files":{}}', "files is an object, not an array"),
        (b'{"files":[],"deleted":"a"}', "deleted is text, not an array"),
        (b'{"files":[],"files":[]}', "'files' is in the body twice"),
        (body(files=[1]), r"files\[0\] is a number, not an object"),
        (body(files=[file(), file(7)]), r"files\[1\].filepath is a number, not text"),
        (body(files=[{"content": ""}]), r"files\[0\].filepath is nothing, not text"),
        (body(files=[file("../x")]), r"files\[0\].filepath \('../x'\) has a '..' part"),
        (body(files=[file("a/.git/x")]), "lies in .git"),
        (b'{"files":[{"filepath":"\\ud800","content":""}]}', "not valid UTF-8"),
        (body(files=[file(content=None)]), r"files\[0\] \('a.tsx'\) has a content that is nothing, not text"),
        (body(files=[file(content=["x"])]), "content that is an array"),
        (b'{"files":[{"filepath":"a","content":"\\udfff"}]}', "an unpaired surrogate"),
        (body(files=[file(encoding="base64", content="?")]), "not base64"),
        (body(files=[file(encoding="base64", content="é")]), "not base64"),
        (body(files=[file(encoding="hex")]), "an encoding that is neither"),
        (body(files=[file(encoding={})]), "an encoding that is neither"),
        (body(files=[file(file_type=1)]), "file_type"),
        (body(files=[file(file_type="a\nb")]), "file_type"),
        (body(files=[file(), file()]), r"files\[1\] \('a.tsx'\) is a duplicate"),
        (body(files=[file()], deleted=["a.tsx"]), r"deleted\[0\] \('a.tsx'\) is also in files"),
        (body(deleted=[None]), r"deleted\[0\] is nothing, not text"),
        (body(deleted=["/x"]), "is absolute"),
        (body(files=[file("a"), file("a/b")]), "'a' cannot be a file: it is the folder of 'a/b'"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        parse(text)


def test_a_file_over_its_limit_is_named_and_one_at_it_is_taken() -> None:
    assert len(parse(body(files=[file(content="x" * MAX_FILE_BYTES)])).files) == 1
    with pytest.raises(TooLarge, match=r"files\[0\] \('a.tsx'\) has 10,485,761 bytes"):
        parse(body(files=[file(content="x" * (MAX_FILE_BYTES + 1))]))


def test_more_files_than_a_set_may_have_are_refused() -> None:
    with pytest.raises(TooLarge, match="more than 20,000"):
        parse(body(files=[file(str(number), "") for number in range(MAX_FILES + 1)]))


any_path = st.text("ab/.\\é", max_size=6)
any_file = st.fixed_dictionaries(
    {"filepath": any_path}, optional={"content": st.text(max_size=5), "encoding": st.just("base64"), "x": st.integers()}
)


@given(st.lists(any_file, max_size=4), st.lists(any_path, max_size=3), st.sampled_from([None, 1, " "]))
def test_a_call_is_read_as_json_says_and_breaks_no_rule_or_it_is_refused(
    files: list[dict[str, Any]], deleted: list[str], indent: Any
) -> None:
    try:
        call = parse(json.dumps({"files": files, "deleted": deleted}, indent=indent).encode())
    except RequestError:
        return
    assert call.files == [
        upsert(
            entry["filepath"],
            base64.b64decode(entry["content"]) if "encoding" in entry else entry["content"].encode(),
        )
        for entry in files
    ]
    paths = [entry.path for entry in call.files]
    assert len(set(paths)) == len(paths)
    assert call.deleted == deleted
    assert not set(paths) & set(deleted)
    assert not overlapping(paths)
    assert not any(map(refusal, paths + deleted))


@given(st.binary(max_size=60) | st.text('{}[]":,filesdt0 ', max_size=60).map(str.encode))
def test_no_body_makes_it_fail(text: bytes) -> None:
    with contextlib.suppress(RequestError):
        parse(text)
