import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import NotAcceptable, Stale
from control.files.negotiate import Delta, Unchanged, Whole, decide, read, tags
from control.storage.head import SetHead

HEAD = SetHead(epoch="e0", revision=9, floor=4)


def conditional(value: str, **headers: str) -> Unchanged | Delta | Whole:
    return decide(
        read({"if-none-match": value} | {name.replace("_", "-"): text for name, text in headers.items()}), HEAD
    )


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/*", "json"),
        ("application/x-ndjson, application/json;q=0.9", "ndjson"),
        ("application/json;q=0.9,application/x-ndjson;q=0.8", "json"),
        ("application/x-ndjson", "ndjson"),
        ("Application/X-NDJSON; charset=utf-8", "ndjson"),
        ("text/html, application/*;q=0.5, */*;q=0.1", "json"),
        ("application/json;q=0, */*", "ndjson"),
        ("application/x-ndjson;q=0, */*;q=0.1", "json"),
        ("application/x-ndjson;q=high, application/json;q=0.1", "json"),
    ],
)
def test_the_form_is_the_one_that_the_client_likes_better_and_json_where_it_does_not_say(
    accept: str, form: str
) -> None:
    assert read({"accept": accept}).form == form


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, text/*"])
def test_a_client_that_takes_neither_form_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        read({"accept": accept})


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=25", 25),
        ("respond-async, wait=10", 10),
        ("respond-async; foo=1, wait=10; bar", 10),
        ('WAIT = "7"', 7),
        ('x="a, wait=3", wait=4', 4),
        ("wait=3, wait=9", 3),
        ("wait=600", 60),
        ("wait=0", 0),
        ("wait=soon", 0),
        ("wait=-1", 0),
        ("wait", 0),
        (" , ;", 0),
        ("", 0),
    ],
)
def test_a_wait_is_the_first_preference_of_that_name_and_at_most_a_minute(prefer: str, seconds: int) -> None:
    assert read({"prefer": prefer}).wait == seconds


@pytest.mark.parametrize(
    ("codings", "near", "packed"),
    [
        ("gzip", False, True),
        ("gzip, zstd", False, True),
        ("*", False, True),
        ("gzip;q=0, *", False, False),
        ("br", False, False),
        ("", False, False),
        ("gzip", True, False),
        ("gzip, identity;q=0", True, True),
        ("gzip, *;q=0", True, True),
    ],
)
def test_gzip_goes_to_those_who_take_it_and_to_a_near_one_only_when_it_takes_nothing_else(
    codings: str, *, near: bool, packed: bool
) -> None:
    assert read({"accept-encoding": codings}, near=near).gzip is packed


def test_without_a_condition_the_answer_is_the_whole_set() -> None:
    assert decide(read({"a-im": "files-delta"}), HEAD) == Whole()


@pytest.mark.parametrize("value", ['"e0-9"', 'W/"e0-9"', '"e0-3" , "e0-9"', '"other", "e0-9", "x"'])
def test_the_current_tag_among_those_named_is_unchanged_and_can_be_held(value: str) -> None:
    assert conditional(value) == Unchanged(hold=True)


def test_a_star_is_unchanged_whatever_comes_so_that_holding_has_no_point() -> None:
    assert conditional("*") == Unchanged(hold=False)


@pytest.mark.parametrize(
    "value", ['"e1-9"', '"e0-10"', '"e0-09"', '"e0-"', '"9"', "e0-9", '"e0-9', '"e0-8"; "e0-9"', "", ",", '"e0-\u0661"']
)
def test_a_tag_that_is_not_ours_or_is_none_gets_the_whole_set(value: str) -> None:
    assert conditional(value, a_im="files-delta") == Whole()


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ('"e0-8"', Delta(8, '"e0-8"')),
        ('"e0-4"', Delta(4, '"e0-4"')),
        ('W/"e0-5"', Delta(5, 'W/"e0-5"')),
        ('"e0-5", "e0-7", "e0-6"', Delta(7, '"e0-7"')),
        ('"e0-3"', Whole()),
    ],
)
def test_a_delta_starts_at_the_newest_base_named_that_is_still_in_the_log(value: str, answer: Delta | Whole) -> None:
    assert conditional(value, a_im="files-delta") == answer


@pytest.mark.parametrize("a_im", ["", "vcdiff", "files-delta;q=0"])
def test_without_asking_for_it_nobody_gets_a_delta(a_im: str) -> None:
    assert conditional('"e0-8"', a_im=a_im) == Whole()


def test_a_delta_may_be_asked_for_among_others() -> None:
    assert conditional('"e0-8"', a_im="vcdiff, Files-Delta;q=0.3") == Delta(8, '"e0-8"')


@pytest.mark.parametrize("value", ['"e0-8"', 'W/"e0-9"', "nonsense"])
def test_if_match_comes_first_and_compares_strongly(value: str) -> None:
    with pytest.raises(Stale):
        conditional('"e0-9"', if_match=value)


@pytest.mark.parametrize("value", ['"e0-9"', "*", '"x", "e0-9"'])
def test_if_match_lets_the_current_set_pass(value: str) -> None:
    assert conditional('"e0-9"', if_match=value) == Unchanged(hold=True)


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"')), min_size=1))
def test_a_list_of_tags_is_read_as_it_was_written_commas_inside_and_all(opaque: list[str]) -> None:
    written = [f'"{text}"' for text in opaque]
    assert tags(" , ".join(written)) == tuple(written)


@given(st.dictionaries(st.sampled_from(["accept", "prefer", "a-im", "if-none-match", "accept-encoding"]), st.text()))
def test_no_header_is_a_reason_to_fail(headers: dict[str, str]) -> None:
    try:
        ask = read(headers)
    except NotAcceptable:
        return
    assert 0 <= ask.wait <= 60
    decide(ask, HEAD)
