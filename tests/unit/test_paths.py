"""Which paths may be written."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.paths import MAX_PART_BYTES, MAX_PATH_BYTES, RESERVED, folders_of, is_config, overlapping, refusal, shown


@pytest.mark.parametrize(
    "path",
    [
        "app/page.tsx",
        "app/[slug]/(group)/@modal/page.tsx",
        ".env.local",
        "ünïcode/日本.ts",
        "a b/c'd\"e.ts",
        "...",
        ".gitignore",
        "next/.nextish",
        "a" * MAX_PART_BYTES,
        "ü" * 127,
    ],
)
def test_a_path_of_an_app_may_be_written(path: str) -> None:
    assert refusal(path) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../up", "'..'"),
        ("a/../../up", "'..'"),
        ("a/./b", "'.'"),
        (".", "'.'"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("a\\b", "backslash"),
        ("C:\\x", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\udcffb", "UTF-8"),
        ("\ud800", "UTF-8"),
        ("a" * (MAX_PART_BYTES + 1), "part longer"),
        ("ü" * 128, "part longer"),
        ("a/" * 512 + "b", "1,024"),
        (".git/config", ".git"),
        ("sub/.git/hooks/pre-commit", ".git"),
        (".GIT/config", ".GIT"),
        ("node_modules/next/index.js", "node_modules"),
        ("packages/x/node_modules/y", "node_modules"),
        (".next/cache", ".next"),
        ("a/.preview-agent/x", ".preview-agent"),
        ("node_modules", "node_modules"),
    ],
)
def test_a_path_that_leaves_the_app_is_refused_with_its_reason(path: str, why: str) -> None:
    said = refusal(path)

    assert said is not None
    assert why in said


@given(st.text() | st.text(alphabet="./\\ab\0\ud800").map(str))
@example("a/..")
def test_what_is_not_refused_stays_below_the_root(path: str) -> None:
    if refusal(path) is not None:
        return
    parts = PurePosixPath(path).parts
    assert os.path.normpath(f"/root/{path}") == f"/root/{path}"
    assert not {part.casefold() for part in parts} & RESERVED
    assert len(os.fsencode(path)) <= MAX_PATH_BYTES
    assert "\0" not in path


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_path_can_be_shown(path: str) -> None:
    text = shown(path)

    text.encode()
    assert text.isprintable()


def test_a_long_path_is_shown_short() -> None:
    assert len(shown("x" * 5_000)) == 201


def test_the_folders_of_a_path_come_outermost_first() -> None:
    assert list(folders_of("a/b/c")) == ["a", "a/b"]
    assert list(folders_of("a")) == []


def test_two_paths_overlap_when_one_lies_in_the_other() -> None:
    assert overlapping(["a", "a/b/c", "d/e", "d/f", "ab"]) == {"a", "a/b/c"}


@given(st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)))
def test_what_does_not_overlap_can_stand_together(paths: set[str]) -> None:
    clashing = overlapping(paths)
    together = paths - clashing

    assert not {folder for path in together for folder in folders_of(path)} & together
    for path in clashing:
        assert any(path in folders_of(other) or other in folders_of(path) for other in paths)


@pytest.mark.parametrize("path", ["package.json", "next.config.ts", "tsconfig.json", ".env", ".env.local"])
def test_configuration_lies_at_the_root(path: str) -> None:
    assert is_config(path)
    assert not is_config(f"app/{path}")
