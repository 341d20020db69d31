"""Which package of a set is the app, and what is run for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devserver.command.app_command import AppCommand, for_app, foreign_project, from_setting, missing, why_ended
from agent.devserver.command.app_dir import Member, choose, framework_of, is_member, member, patterns, script_of


def package(folder: str = "", **manifest: Any) -> Member:
    dependencies = dict.fromkeys(manifest.pop("needs", "").split(), "*")
    return member(folder, {"dependencies": dependencies, **manifest})


WEB = package("apps/web", name="web", scripts={"dev": "next dev"}, needs="next react")
DOCS = package("apps/docs", name="docs", scripts={"dev": "astro dev"}, needs="astro")
API = package("apps/api", name="api", scripts={"dev": "tsx watch src/index.ts"}, needs="hono")
UI = package("packages/ui", name="@r/ui", scripts={"dev": "tsc -w"}, needs="next react vite")
LIBRARY = package("packages/lib", name="lib", scripts={"dev": "vite build --watch"}, needs="vite")
ROOT = package(scripts={"dev": "turbo run dev"}, needs="turbo")


def test_the_one_member_with_a_known_framework_is_the_app() -> None:
    assert choose(ROOT, (API, LIBRARY, UI, WEB), None) == WEB


def test_a_root_with_an_app_of_its_own_is_the_app_whatever_its_members_are() -> None:
    root = package(scripts={"dev": "next dev"}, needs="next")
    assert choose(root, (WEB, UI), None) == root


def test_a_workspace_without_a_known_app_is_run_at_its_root() -> None:
    assert choose(ROOT, (API, UI), None) == ROOT


def test_several_apps_are_listed_with_what_to_do() -> None:
    said = choose(ROOT, (WEB, DOCS), None)
    assert isinstance(said, str)
    assert "apps/web, apps/docs" in said
    assert "set APP_DIR" in said


@pytest.mark.parametrize(
    "script",
    ["pnpm --filter web dev", "npm run dev -w apps/web", "cd apps/web && npm run dev", "turbo dev --filter=web"],
)
def test_of_several_apps_the_one_that_the_root_starts_is_taken(script: str) -> None:
    assert choose(package(scripts={"dev": script}), (WEB, DOCS), None) == WEB


def test_app_dir_chooses_any_package_and_says_where_there_is_none() -> None:
    assert choose(ROOT, (WEB, DOCS), "apps/docs") == DOCS
    assert choose(ROOT, (WEB,), ".") == ROOT
    assert choose(ROOT, (WEB,), "apps/shop") == "APP_DIR is apps/shop, and there is no package.json in that folder yet"


@pytest.mark.parametrize(
    ("manifest", "pnpm", "expected"),
    [
        ({"workspaces": ["apps/*"]}, None, ("apps/*",)),
        ({"workspaces": {"packages": ["a", "b/**"]}}, None, ("a", "b/**")),
        ({"workspaces": "apps/*"}, None, ()),
        ({}, None, ()),
        (
            {"workspaces": ["no"]},
            "packages:\n  - \"apps/*\"  # all\n\n  - '!apps/old'\ncatalog:\n  - x\n",
            ("apps/*", "!apps/old"),
        ),
        ({}, "packages: [apps/*, 'libs/*']\n", ("apps/*", "libs/*")),
        ({}, "packages:\n- a\n- b\n", ("a", "b")),
        ({}, "catalog:\n  react: 19\n", ()),
    ],
)
def test_members_are_named_in_either_file(
    manifest: dict[str, Any], pnpm: str | None, expected: tuple[str, ...]
) -> None:
    assert patterns(manifest, pnpm) == expected


@pytest.mark.parametrize(
    ("folder", "among", "inside"),
    [
        ("apps/web", ("apps/*",), True),
        ("apps/web/x", ("apps/*",), False),
        ("apps/web/x", ("apps/**",), True),
        ("apps", ("apps/**",), False),
        ("a/b/c", ("**/c",), True),
        ("web", ("./web/",), True),
        ("apps/old", ("apps/*", "!apps/old"), False),
        ("apps/web", ("apps/" + "*a" * 50,), False),
    ],
)
def test_a_pattern_means_folders_as_npm_and_pnpm_mean_them(folder: str, among: tuple[str, ...], inside: bool) -> None:  # noqa: FBT001 - a table
    assert is_member(folder, among) == inside


@given(
    st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.text())))
)
def test_a_manifest_of_any_shape_is_read(manifest: dict[str, Any]) -> None:
    made = member("", manifest | {"scripts": manifest, "dependencies": manifest.get("x")})
    framework_of(made.package)
    patterns(manifest | {"workspaces": manifest.get("x")}, None)


@pytest.mark.parametrize(
    ("scripts", "needs", "expected"),
    [
        ({"dev": "x", "start": "next start"}, "next", "dev"),
        ({"start": "next start"}, "next", None),
        ({"start": "react-scripts start"}, "react-scripts", "start"),
        ({"develop": "gatsby develop", "start": "gatsby serve"}, "gatsby", "develop"),
        ({"start": "node server.js"}, "express", "start"),
        ({"serve": "vite"}, "vite", "serve"),
        ({"build": "x"}, "", None),
        ({"dev": " "}, "", None),
    ],
)
def test_the_script_that_serves_is_found(scripts: dict[str, str], needs: str, expected: str | None) -> None:
    assert script_of(package(scripts=scripts, needs=needs).package) == expected


def command(app: Member) -> AppCommand:
    found = for_app(app, 4000)
    assert isinstance(found, AppCommand), found
    return found


def test_next_itself_is_executed_without_a_shell_and_without_its_link() -> None:
    found = command(package(scripts={"dev": "cross-env A='b c' next dev --turbo"}, needs="next"))
    assert found.argv == ("node", "{file}", "dev", "--turbo", "-p", "4000", "-H", "127.0.0.1")
    assert (found.file, found.group, found.variables["A"]) == ("next/dist/bin/next", False, "b c")
    assert "PORT" not in found.variables


def test_what_takes_a_shell_is_ended_as_a_group() -> None:
    found = command(package(scripts={"dev": "prisma generate && next dev"}, needs="next"))
    assert found.argv == ("/bin/sh", "-c", "prisma generate && next dev -p 4000 -H 127.0.0.1")
    assert found.group
    assert found.framework.name == "next"


def test_a_server_of_the_apps_own_is_told_its_port_and_is_still_its_frameworks() -> None:
    found = command(package(scripts={"dev": "node server.mjs"}, needs="next"))
    assert found.argv == ("node", "server.mjs")
    assert (found.variables["PORT"], found.variables["HOST"]) == ("4000", "127.0.0.1")
    assert (found.framework.name, found.entry) == ("next", "server.mjs")
    assert command(package(scripts={"dev": "node server.mjs"})).framework.name == "custom"


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ("next", ("node", "{file}", "dev", "-p", "4000", "-H", "127.0.0.1")),
        ("vite", ("vite", "dev", "--port", "4000", "--strictPort", "--host", "127.0.0.1")),
        ("astro vite", ("astro", "dev", "--port", "4000", "--host", "127.0.0.1")),
        ("@angular/cli", ("ng", "serve", "--port", "4000", "--host", "127.0.0.1")),
    ],
)
def test_without_a_script_the_frameworks_own_command_stands_in(needs: str, words: tuple[str, ...]) -> None:
    assert command(package(needs=needs)).argv == words


def test_frameworks_that_share_vites_command_are_told_apart() -> None:
    assert command(package(scripts={"dev": "vite dev"}, needs="vite @sveltejs/kit")).framework.name == "sveltekit"
    assert command(package(scripts={"dev": "vite"}, needs="vite react")).framework.name == "vite"


def test_a_package_that_serves_nothing_is_told_what_to_add() -> None:
    said = for_app(package(needs="left-pad"), 4000)
    assert isinstance(said, str)
    assert "add a dev script" in said


def test_dev_command_is_asked_as_its_framework_is() -> None:
    assert from_setting(("node_modules/.bin/vite", "--port", "1")).framework.name == "vite"
    assert from_setting(("./start.sh",), package(needs="astro").package).framework.name == "astro"
    assert from_setting(("./start.sh",)).framework.name == "next"


def test_what_is_missing_is_one_sentence_with_what_to_do() -> None:
    next_app = command(package(scripts={"dev": "next dev"}, needs="next"))
    there = {"apps/web/src/app"}
    assert missing(next_app, "apps/web", there.__contains__, lambda _: True) is None
    said = missing(next_app, "apps/web", there.__contains__, lambda _: False)
    assert said == "next is not installed yet: package.json has to name it among its dependencies"
    said = missing(next_app, "", there.__contains__, lambda _: True)
    assert said == "none of the folders app, pages, src/app, src/pages exists yet"
    vite_app = command(package(scripts={"dev": "vite"}, needs="vite"))
    said = missing(vite_app, "", there.__contains__, lambda _: False)
    assert said is not None
    assert said.startswith("vite is not installed")
    elsewhere = command(package(scripts={"dev": "next dev ./web"}, needs="next"))
    assert missing(elsewhere, "", there.__contains__, lambda _: True) is None


def test_a_folder_that_is_no_web_app_is_named_for_what_it_is() -> None:
    said = foreign_project({"requirements.txt", "main.py"}.__contains__)
    assert said is not None
    assert said.startswith("this looks like a Python project (requirements.txt)")
    said = foreign_project({"Makefile", "main.c"}.__contains__)
    assert said is not None
    assert said.startswith("this looks like a C project (main.c)")
    assert foreign_project({"README.md", "Makefile"}.__contains__) is None


def test_a_port_that_the_server_chose_itself_is_explained_when_it_was_taken() -> None:
    own = command(package(scripts={"dev": "node server.mjs"}))
    words = "Error: listen EADDRINUSE: address already in use :::3000"
    assert "have it listen on process.env.PORT" in why_ended("it exited with status 1", words, own, 4000)
    assert why_ended("it exited with status 1", "boom", own, 4000) == "it exited with status 1"
