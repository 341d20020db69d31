"""What frameworks are recognised by, what Vite's output says, and where an app's first page is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devserver.address import configured, prefix_of
from agent.devserver.frameworks import known, vite_lines
from agent.devserver.frameworks.framework import AppLocation, OutputState
from agent.devserver.frameworks.nextjs import NEXT, of_version

HERE = AppLocation("/w", "")

EIGHT = """\
7:04:40 PM [vite] (client) hmr update /src/App.tsx
7:04:40 PM [vite] Internal server error: Transform failed with 1 error:

[PARSE_ERROR] Unexpected token
     ╭─[ src/App.tsx:123:12 ]
     │
 123 │ const x = (;
─────╯

  Plugin: vite:oxc
  File: /w/src/App.tsx
      at transformWithOxc (file:///w/node_modules/vite/dist/node/chunks/node.js:7673:19)
"""
FIVE = """\
7:04:40 PM [vite] Pre-transform error: /w/src/App.tsx: Unexpected token (5:10)

  3 | a
  Plugin: vite:react-babel
  File: /w/src/App.tsx:5:10
      at toParseError (file:///w/node_modules/@babel/core/lib/index.js:1:1)
"""


def heard(text: str, before: OutputState | None = None, place: AppLocation = HERE) -> OutputState:
    lines = before or OutputState()
    for line in text.splitlines():
        lines = vite_lines.read(line, lines, place)
    return lines


def test_an_error_of_vite_8_has_the_place_that_its_text_names() -> None:
    (problem,) = heard(EIGHT).compile.errors
    assert (problem.file, problem.line, problem.column) == ("src/App.tsx", 123, 12)
    assert problem.message.startswith("Transform failed with 1 error:\n\n[PARSE_ERROR] Unexpected token")
    assert "Plugin" not in problem.message


def test_an_error_of_vite_5_counts_columns_from_0_and_names_no_path_of_the_machine() -> None:
    (problem,) = heard(FIVE).compile.errors
    assert (problem.file, problem.line, problem.column) == ("src/App.tsx", 5, 11)
    assert problem.message.startswith("src/App.tsx: Unexpected token (5:10)")


def test_an_error_is_told_once_and_is_mended_by_the_next_update() -> None:
    twice = heard(FIVE + EIGHT + EIGHT)
    assert len(twice.compile.errors) == 1
    assert heard("7:04:43 PM [vite] (client) hmr update /src/other.tsx", twice).compile.errors == ()
    assert heard("7:04:43 PM [vite] (client) page reload src/main.tsx", twice).compile.errors == ()
    assert heard("[vite] server restarted.", twice).compile.errors == ()


def test_what_the_app_prints_is_no_error() -> None:
    assert heard("hello\n  File: /w/x.ts\n      at x\nInternal server error: no").compile.errors == ()


def test_a_file_that_is_named_from_the_apps_folder_is_the_sets() -> None:
    (problem,) = heard(
        "[vite] Internal server error: x\n  File: src/App.tsx:1:0", place=AppLocation("/w", "apps/web")
    ).compile.errors
    assert problem.file == "apps/web/src/App.tsx"


@given(st.lists(st.sampled_from([*EIGHT.splitlines(), *FIVE.splitlines(), "noise", "x" * 3000])))
def test_any_order_of_lines_is_read_and_bounded(lines: list[str]) -> None:
    errors = heard("\n".join(lines * 3)).compile.errors
    assert len(errors) <= 2
    assert all(len(error.message) <= 4000 for error in errors)


@pytest.mark.parametrize(
    ("version", "path", "cache"),
    [
        ("13.5.11", "/__nextjs_original-stack-frame", (".next", "cache")),
        ("14.2.35", "/__nextjs_original-stack-frame", (".next", "cache")),
        ("15.0.4", "/__nextjs_source-map", (".next", "cache")),
        ("15.3.9", "/__nextjs_source-map", (".next", "cache")),
        ("15.4.9", "/__nextjs_server_status", (".next", "cache")),
        ("16.4.5", "/__nextjs_server_status", (".next", "dev", "cache")),
        ("17.0.0-canary.1", "/__nextjs_server_status", (".next", "dev", "cache")),
        (None, "/__nextjs_server_status", (".next", "dev", "cache")),
        ("latest", "/__nextjs_server_status", (".next", "dev", "cache")),
    ],
)
def test_next_is_asked_for_what_its_version_answers_without_compiling(
    version: str | None, path: str, cache: tuple[str, ...]
) -> None:
    found = of_version(version)
    assert (found.liveness.path, found.cache) == (path, cache)


@pytest.mark.parametrize(
    ("packages", "name"),
    [
        ({"next", "react", "vite"}, "next"),
        ({"astro", "vite"}, "astro"),
        ({"@sveltejs/kit", "vite"}, "sveltekit"),
        ({"vite", "vue"}, "vite"),
        ({"react-scripts"}, "custom"),
        ({"express"}, None),
    ],
)
def test_an_app_is_made_with_what_its_packages_say(packages: set[str], name: str | None) -> None:
    found = known.by_packages(packages)
    assert (found and found.name) == name


def test_no_two_tools_have_one_name_and_verb() -> None:
    for framework in known.ALL:
        for tool in framework.tools:
            verb = tool.verbs[0] if tool.verbs else None
            assert known.by_program(tool.program, verb) is not None
    assert known.by_program("next", "build") is None
    assert known.by_program("vite", "preview") is None


@pytest.mark.parametrize(
    ("html", "prefix"),
    [
        ('<script src="/_next/static/a.js">', ""),
        ('<script src="/shop/_next/static/a.js">', "/shop"),
        ("<link href='/a/b/_next/static/a.css'>", "/a/b"),
        ('<script src="https://cdn.example/x/_next/static/a.js">', "/x"),
        ('<script src="//cdn.example/_next/static/a.js">', ""),
        ('<script type="module" src="/docs/@vite/client">', "/docs"),
        ("<p>/shop/_next/static/</p>", None),
        ('<script src="/<x>/_next/static/">', None),
        ("", None),
    ],
)
def test_the_prefix_is_what_stands_before_the_frameworks_own_scripts(html: str, prefix: str | None) -> None:
    assert prefix_of(html) == prefix


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("module.exports = { basePath: '/shop' }", ("/shop",)),
        ('const c = {\n  basePath: "/a/b",\n}', ("/a/b",)),
        ("{ // basePath: '/old'\n}", ()),
        ("/*\n * basePath: '/old'\n */", ()),
        ("{ basePath: process.env.BASE }", ()),
        ("{ basePath: '' }", ()),
        ("{ basePath: '//elsewhere.example' }", ()),
        ("{ basePath: '/a b' }", ()),
    ],
)
def test_a_configured_path_is_taken_where_it_stands_as_text(text: str, paths: tuple[str, ...]) -> None:
    assert configured([text], NEXT.base) == paths
