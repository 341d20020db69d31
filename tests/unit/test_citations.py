"""Comments and docstrings cite what exists: sections of the contract and of the facts, and modules of ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.purity import tree

ROOT = Path(__file__).resolve().parents[2]

FOLDERS = ("agent", "control", "scripts")
"""Where the names of modules in docstrings and comments are checked."""

CONTRACT = re.compile(
    r"(?:[Cc]ontract(?:'s)?,? |docs/protocol\.md, )sections? (?P<first>\d+)(?: and (?P<second>\d+))?"
    r"|\(section (?P<bare>\d+)\)"
)
FACTS = re.compile(r"\b(?P<page>next|fly)\.md, (?:section )?(?P<section>\d+)")
FILE = re.compile(r"(?<![\w*./<>-])(?:[\w-]+/)*[\w-]+\.py\b")
DOTTED = re.compile(r"\b(?:agent|control|scripts)(?:\.[a-z_]+)+(?:\.[A-Z]\w*)?\b(?!/)")
WORD = re.compile(r"`(?P<word>[a-z_]+)`")
KEYS = frozenset({"asleep", "bare", "base", "e", "error", "gone", "id", "now", "ours", "type"})
"""Words in backticks that are keys of a message or parameters elsewhere, and not modules."""


def sources(*folders: str) -> list[Path]:
    return [path for top in folders for path in sorted((ROOT / top).rglob("*.py")) if "node_modules" not in path.parts]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text(path: Path) -> str:
    """A file as one line, without the marks of comments, so that a citation may be broken over lines."""
    return " ".join(re.sub(r"^\s*#", " ", path.read_text("utf-8"), flags=re.MULTILINE).split())


@cache
def prose(path: Path) -> str:
    """The docstrings of a module, each as one line, and its comments."""
    found = [node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)]
    blocks = [node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    blocks += re.findall(r"# .*", path.read_text("utf-8"))
    return "\n".join(" ".join(block.split()) for block in blocks)


def module_docstring(path: Path) -> str:
    return ast.get_docstring(tree(path)) or ""


def sections(page: str) -> set[str]:
    return set(re.findall(r"^## (\d+)\. ", (ROOT / "docs" / f"{page}.md").read_text("utf-8"), flags=re.MULTILINE))


@cache
def repository() -> frozenset[str]:
    """Every module of ours by each path that ends at it: agent/sync/plan.py, sync/plan.py, plan.py."""
    every = (path.relative_to(ROOT).parts for path in sources("agent", "control", "scripts", "tests"))
    return frozenset("/".join(parts[start:]) for parts in every for start in range(len(parts)))


def exists(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or something that a module names."""
    path = ROOT / dotted.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    owner, _, name = dotted.rpartition(".")
    module = ROOT / f"{owner.replace('.', '/')}.py"
    return module.is_file() and re.search(rf"\b{name}\b", module.read_text("utf-8")) is not None


def words_of(path: Path) -> set[str]:
    """What a module's own code names: identifiers, and the words of its strings other than docstrings."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            names |= set(value.split(".")) if isinstance(value, str) else set()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                names |= set(re.findall(r"\w+", child.value))
    return names


def cited_sections() -> Iterator[tuple[str, str]]:
    for path in sources("agent", "control", "scripts", "tests"):
        if path == Path(__file__):
            continue
        for found in CONTRACT.finditer(text(path)):
            yield from ((relative(path), number) for number in found.groups() if number)


def test_the_contract_is_cited_and_every_cited_section_exists() -> None:
    cited = list(cited_sections())
    assert len(cited) > 20, "the pattern no longer finds the citations"
    numbers = sections("protocol")
    assert not [f"{path}: contract, section {number}" for path, number in cited if number not in numbers]


def test_the_sections_of_the_contract_are_numbered_from_1_on() -> None:
    assert sections("protocol") == {str(number) for number in range(1, 8)}


@pytest.mark.parametrize("page", ["next", "fly"])
def test_every_cited_section_of_the_facts_exists(page: str) -> None:
    texts = [(relative(path), text(path)) for path in sources("agent", "control", "scripts", "tests")]
    texts += [(f"docs/{path.name}", text(path)) for path in (ROOT / "docs").glob("*.md")]
    numbers = sections(page)
    cited = [
        (where, found["section"]) for where, text in texts for found in FACTS.finditer(text) if found["page"] == page
    ]
    assert not [f"{where}: {page}.md, section {number}" for where, number in cited if number not in numbers]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_that_a_comment_names_exists(folder: str) -> None:
    stale = [
        f"{relative(path)}: {name}"
        for path in sources(folder)
        for name in (*FILE.findall(prose(path)), *DOTTED.findall(prose(path)))
        if name not in repository() and not exists(name) and f'"{name}"' not in path.read_text("utf-8")  # a log event
    ]
    assert not stale


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_word_in_backticks_is_a_module_or_a_name_of_the_code(folder: str) -> None:
    modules = {part.removesuffix(".py") for name in repository() for part in name.split("/")}
    stale = [
        f"{relative(path)}: {word}"
        for path in sources(folder)
        for word in WORD.findall(module_docstring(path))
        if word not in modules | KEYS and word not in words_of(path)
    ]
    assert not stale
