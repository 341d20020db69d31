"""The table of apps is what it says: each row fits its app, and a misspelled expectation is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.apptable import edits, folders, making
from scripts.apptable.generators import GENERATED, without_google_fonts
from scripts.apptable.rows import EDITS, Row, from_json, problem_matches

OWN = sorted(path.parent.name for path in making.OWN.glob("*/expect.json"))


@pytest.mark.parametrize("name", OWN)
def test_the_edits_of_an_own_app_can_be_made_one_after_the_other(name: str) -> None:
    row = from_json(name, json.loads((making.OWN / name / "expect.json").read_bytes()))
    now = folders.texts(making.own_files(making.OWN / name))
    for step in edits.steps(row, now):
        for path, content in edits.apply(step, now).items():
            if content is None:
                del now[path]
            else:
                now[path] = content


@pytest.mark.parametrize("name", OWN)
def test_an_own_app_has_no_lock_file_and_names_no_registry(name: str) -> None:
    for path, text in folders.texts(folders.read(making.OWN / name)).items():
        assert not re.search(r"lock\.(json|yaml)$|yarn\.lock$|bun\.lockb?$", path), "lock files are made on the spot"
        assert not re.search(r"registry\.|npmjs|yarnpkg\.com", text), path


def test_no_two_rows_have_the_same_name_and_each_says_its_kind() -> None:
    rows = making.rows()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.kind for row in rows)


def test_the_quick_rows_are_a_next_app_a_vite_app_one_without_a_package_json_and_what_is_refused() -> None:
    quick = {row.name for row in making.rows() if row.quick}
    assert {"next16", "vite-react-ts", "files-only", "library", "not-an-app"} <= quick


def test_a_row_that_must_not_run_says_which_problem_is_expected() -> None:
    assert all(row.problem for row in making.rows() if not row.runs or row.mend)


def test_generators_are_pinned() -> None:
    for made in GENERATED:
        assert re.search(r"@\d+\.\d+\.\d+$", made.command[2]), made.row.name


def test_fonts_that_have_to_be_fetched_are_taken_out_of_a_template() -> None:
    text = 'import { Geist, Geist_Mono } from "next/font/google";\nconst sans = Geist({});\n'
    assert "next/font" not in without_google_fonts(text)
    assert without_google_fonts(text).count('=> ({ className: "", variable: "" })') == 2


@pytest.mark.parametrize(
    "said", [{"kind": "k", "see": "s", "sea": "s"}, {"kind": "k", "see": "s", "steps": [{"name": "a", "sees": "b"}]}]
)
def test_an_unknown_key_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="unknown keys"):
        from_json("app", said)


def test_an_unknown_edit_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown edits: rename"):
        from_json("app", {"kind": "k", "see": "s", "edits": ["rename"]})


def test_all_stands_for_every_edit() -> None:
    assert from_json("app", {"kind": "k", "see": "s", "edits": "all"}).edits == EDITS


def test_a_problem_is_found_by_its_source_file_or_message() -> None:
    problems = [{"source": "install", "file": "package.json", "message": "E404 for nothing\nat all"}]
    assert all(problem_matches(pattern, problems) for pattern in ("install", "package.json", "e404.*all"))
    assert not problem_matches("compile", problems)
    assert not problem_matches("", [])


def test_packages_of_an_own_app_are_packed_the_same_way_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "tarballs" / "thing"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "thing", "version": "1.2.3"}')
    (tmp_path / "expect.json").write_text("{}")
    files = making.own_files(tmp_path)
    assert list(files) == ["vendor/thing-1.2.3.tgz"]
    assert files == making.own_files(tmp_path)


def row(**said: object) -> Row:
    return from_json("app", {"kind": "kind", "see": "Hello", "page": "app/page.tsx", "css": "app/globals.css", **said})


FILES = {
    "app/page.tsx": '"use client";\nexport default () => <h1>Hello</h1>;\n',
    "app/globals.css": "body {}\n",
    "package.json": '{"name": "app", "dependencies": {"next": "1.0.0"}}',
}


def test_the_series_ends_with_an_app_that_shows_a_value_of_the_added_package() -> None:
    made = edits.steps(row(edits="all", router="app", routes="app"), FILES)
    assert [step.name for step in made] == list(EDITS)
    assert made[-1].files["app/page.tsx"] == (
        '"use client";\nimport ms from "ms";\nexport default () => <h1>{ms(60000)} passed</h1>;\n'
    )
    assert json.loads(str(made[-1].files["package.json"]))["dependencies"] == {"next": "1.0.0", "ms": "2.1.3"}


def test_the_deleted_route_is_the_added_one_below_the_base_path() -> None:
    made = {step.name: step for step in edits.steps(row(edits="all", router="app", routes="app", base="/shop"), FILES)}
    assert (made["route"].at, made["delete"].at) == ("/shop/added", "/shop/added")
    assert made["delete"].files == {"app/added/page.tsx": None}


@pytest.mark.parametrize(
    ("said", "missing"),
    [({"page": "src/page.tsx"}, "src/page.tsx"), ({"see": "Goodbye"}, "Goodbye"), ({"edits": ["route"]}, "no router")],
)
def test_a_row_that_names_what_its_app_lacks_is_refused(said: dict[str, object], missing: str) -> None:
    with pytest.raises(edits.Unfit, match=missing):
        edits.steps(row(**said), FILES)


@pytest.mark.parametrize(
    ("path", "text", "imported"),
    [
        ("a.vue", "<script setup>\nlet a;\n</script>", '<script setup>\nimport ms from "ms";\n\nlet a;\n</script>'),
        ("a.svelte", "<p/>", '<script>\nimport ms from "ms";\n</script>\n<p/>'),
        ("a.astro", "---\n---\n<p/>", '---\nimport ms from "ms";\n---\n<p/>'),
        ("a.astro", "<p/>", '---\nimport ms from "ms";\n---\n<p/>'),
        ("a.js", "let a;", 'import ms from "ms";\nlet a;'),
    ],
)
def test_an_import_goes_where_the_language_has_its_imports(path: str, text: str, imported: str) -> None:
    assert edits.with_import(path, text) == imported
