"""The documents say what the code does: generated parts are current, named files exist, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.docs import DOCUMENTS, PARTS, renewed

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
EVERY = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES]
WRITTEN_BY_NEXT = {"AGENTS.md"}


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_parts_are_current(name: str) -> None:
    assert renewed(text(name)) == text(name), "scripts/docs renews it"


def test_everything_that_is_generated_is_shown_somewhere() -> None:
    shown = {part for name in DOCUMENTS for part in re.findall(r"<!-- generated:(\w+) -->", text(name))}
    assert shown == set(PARTS)


@pytest.mark.parametrize("name", EVERY)
def test_every_file_of_ours_that_is_named_exists(name: str) -> None:
    named = re.findall(
        r"(?<![\w./-])((?:scripts|agent|control|runtime|tests|examples|requirements|docs)/[\w./-]*\w)", text(name)
    )
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", EVERY)
def test_every_module_and_page_that_is_named_without_its_folder_exists(name: str) -> None:
    ours = {path.name for top in ("scripts", "agent", "control", "tests") for path in (ROOT / top).rglob("*.py")}
    pages = {path.name for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
    named = set(re.findall(r"(?<![\w./*-])[\w-]+\.(?:py|md)\b", text(name)))
    stale = named - ours - pages - WRITTEN_BY_NEXT
    assert not stale


def test_every_command_of_the_readme_can_be_run() -> None:
    for path in set(re.findall(r"(?<![\w./-])scripts/[\w.-]*\w", text("README.md"))):
        assert (ROOT / path).stat().st_mode & 0o111, f"{path} is not executable"
        assert (ROOT / path).read_text("utf-8").startswith("#!/usr/bin/env bash\n")


def test_the_readme_names_every_command_there_is() -> None:
    commands = {
        f"scripts/{path.name}"
        for path in (ROOT / "scripts").iterdir()
        if path.stat().st_mode & 0o111 and path.is_file()
    }
    assert commands <= set(re.findall(r"scripts/[\w.-]*\w", text("README.md") + text("CONTRIBUTING.md")))


@pytest.mark.parametrize("name", EVERY)
def test_no_link_inside_the_repository_is_broken(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        path, _, fragment = target.partition("#")
        if "://" in target:
            continue
        document = (ROOT / name).parent / path if path else ROOT / name
        assert document.exists(), f"{name} links to {target}"
        if fragment:
            headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert fragment in anchors, f"{name} links to {target}"


def test_each_set_of_pinned_packages_holds_the_smaller_one() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^\s;]+)", text(f"requirements/{name}.txt"), flags=re.MULTILINE))

    # scripts/setup.py takes the larger for the smaller, and what is tested is then what the image carries.
    assert pins("agent") < pins("control") < pins("dev")


def test_no_lock_file_names_a_registry() -> None:
    locks = [*(ROOT / "runtime").glob("*/package-lock.json"), *(ROOT / "requirements").glob("*.txt")]
    for lock in locks:
        assert "resolved" not in lock.read_text("utf-8")
        assert "--index-url" not in lock.read_text("utf-8")
