"""The scanner of shell lines, beside Python's own and beside the real shell."""

from __future__ import annotations

import itertools
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devserver.command.shell_words import Unreadable, quoted, replaced, scan

ANY_TEXT = st.text(alphabet="ab \t\n'\"\\$`&|;()<>#~*{}=-/@:0", max_size=40)
VALUES = st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)


def values(text: str) -> list[list[str | None]]:
    return [[word.value for word in command.words] for command in scan(text).commands]


@pytest.mark.parametrize(
    ("text", "commands", "operators"),
    [
        ("next dev", [["next", "dev"]], ()),
        ("a && b || c; d & e | f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]], ("&&", "||", ";", "&", "|")),
        ("(a; b) & c", [["a"], ["b"], ["c"]], ("(", ";", ")", "&")),
        ("A='b c' next \"dev x\" d\\ e", [["A=b c", "next", "dev x", "d e"]], ()),
        ("next dev > log 2>&1 < in", [["next", "dev"]], ()),
        ("next dev 2>&1 | tee", [["next", "dev"], ["tee"]], ("|",)),
        ('echo "$A" ${B:-x y} $(c "d)") `e` $5', [["echo", None, None, None, None, None]], ()),
        ("echo a$ '$x' \\$y", [["echo", "a$", "$x", "$y"]], ()),
        ("rm *.js ~/x a~b", [["rm", None, None, "a~b"]], ()),
        ("a # the rest", [["a"]], ()),
        ("a#b", [["a#b"]], ()),
        ('a ""', [["a", ""]], ()),
        ("", [], ()),
    ],
)
def test_a_line_is_its_commands_and_what_joins_them(
    text: str, commands: list[list[str | None]], operators: tuple[str, ...]
) -> None:
    assert (values(text), scan(text).operators) == (commands, operators)


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", "$(a", "${a", "`a", "echo $('"])
def test_what_is_not_closed_is_not_read(text: str) -> None:
    with pytest.raises(Unreadable):
        scan(text)


@given(ANY_TEXT)
def test_a_words_raw_text_is_where_it_says_it_is(text: str) -> None:
    try:
        line = scan(text)
    except Unreadable:
        return
    words = [word for command in line.commands for word in command.words]
    assert all(text[word.start : word.end] == word.raw for word in words)
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))
    assert replaced(text, ((word.start, word.end, word.raw) for word in words)) == text


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_what_is_quoted_is_read_back(words: list[str]) -> None:
    text = " ".join(map(quoted, words))
    assert values(text) == [words]
    assert shlex.split(text) == words


@given(st.lists(st.text(alphabet="ab$\\ '\"=", min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=30)
def test_the_real_shell_reads_the_same_words(words: list[str]) -> None:
    text = " ".join(map(quoted, words))
    out = subprocess.run(
        ["/bin/sh", "-c", f'for word in {text}; do printf "%s\\0" "$word"; done'],
        check=True,
        capture_output=True,
        timeout=20,
    ).stdout
    assert out.decode().split("\0")[:-1] == values(text)[0]
