"""An import and a file that differ in spelling alone are told with both spellings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from agent.devserver.import_spelling import Spelling, explain, similar
from agent.status import Problem

DECOMPOSED = unicodedata.normalize("NFD", "Mënu.tsx")


def not_found(name: str, file: str = "app/page.tsx") -> Problem:
    return Problem("compile", f"Module not found: Can't resolve '{name}'", file, 1, 1)


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("Menu", ["menu.tsx", "other.tsx"], "menu.tsx"),
        ("Mënu", [DECOMPOSED], DECOMPOSED),
        ("menu.CSS", ["menu.css"], "menu.css"),
        ("menu", ["menu.tsx"], None),
        ("menu", ["menus.tsx"], None),
        ("Menu.module.css", ["menu.module.css"], "menu.module.css"),
    ],
)
def test_a_name_is_similar_when_case_or_unicode_form_is_all_that_differs(
    name: str, names: list[str], found: str | None
) -> None:
    assert similar(name, names) == found


def test_two_names_that_look_the_same_are_told_by_their_characters() -> None:
    told = explain("Mënu", DECOMPOSED)
    assert r'the import has "M\u00ebnu", the file is "Me\u0308nu.tsx"' in told
    assert explain("Menu", "menu.tsx").startswith(
        'the file exists under another spelling: the import has "Menu", the file is "menu.tsx"'
    )


def test_the_folder_of_the_import_is_looked_at_also_behind_an_alias(tmp_path: Path) -> None:
    (tmp_path / "src" / "Components").mkdir(parents=True)
    (tmp_path / "src" / "Components" / "Menu.tsx").touch()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "menu.tsx").touch()
    spelling = Spelling(tmp_path)
    assert '"menu.tsx"' in spelling.explained(not_found("./Menu")).message
    assert '"Components"' in spelling.explained(not_found("@/components/Menu")).message
    for same in (not_found("./gone"), not_found("menu"), not_found("../../../etc/Passwd"), Problem("compile", "x")):
        assert spelling.explained(same) == same
