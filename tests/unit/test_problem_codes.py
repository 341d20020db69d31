"""Every problem has a code, and every code is explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import get_args

import pytest

from agent import errors
from agent.problem_codes import CODES, GENERAL
from agent.status import Problem, Source
from scripts.purity import PRODUCT, tree


def literal_codes() -> Iterator[tuple[str, str]]:
    """Each `code="..."` of a Problem that is made in the agent, with its module."""
    for name, path in PRODUCT.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                for word in node.keywords:
                    if word.arg == "code" and isinstance(word.value, ast.Constant):
                        yield name, str(word.value.value)


def test_every_code_that_a_module_gives_a_problem_is_explained() -> None:
    given = list(literal_codes())
    assert len(given) > 5
    assert not [(name, code) for name, code in given if code not in CODES]


@pytest.mark.parametrize("source", get_args(Source))
def test_a_problem_without_a_code_of_its_own_has_that_of_its_source(source: Source) -> None:
    assert Problem(source, "it broke").code == GENERAL[source]
    assert GENERAL[source] in CODES


def test_every_error_of_the_sync_has_a_code_that_is_explained() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SyncError)]
    codes = {kind.code.replace("_", "-") for kind in found if kind is not errors.SyncError}
    assert codes <= CODES.keys()


def test_a_code_is_lower_case_words_with_dashes() -> None:
    assert not [code for code in CODES if not code.replace("-", "").isalpha() or code != code.lower()]
