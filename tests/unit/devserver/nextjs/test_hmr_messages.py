"""What the dev server's socket says, in frames as Next 16.4 sends them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devserver.nextjs.hmr_messages import Compile, read
from agent.status import Problem

HERO = (
    "./components/Hero.tsx:10:4\nError: Expected ',', got ';'\n"
    "  \x1b[90m 9 |\x1b[0m     </button>\n\x1b[31m\x1b[1m>\x1b[0m \x1b[90m10 |\x1b[0m   );\n\n"
    "Parsing ecmascript source code failed\n\n"
)
NOTHING = Compile()
BROKEN = Compile(errors=(Problem("compile", "some error", "app/page.tsx"),))


def hear(said: object, before: Compile = NOTHING, *, there: tuple[str, ...] = ()) -> Compile:
    return read(json.dumps(said), before, there.__contains__, "/srv/apps/shop")


def errors(*messages: object) -> dict[str, object]:
    return {"type": "built", "hash": "1", "errors": [{"message": message} for message in messages], "warnings": []}


def test_a_syntax_error_has_its_file_line_and_column_and_no_colours() -> None:
    (problem,) = hear(errors(HERO)).errors

    assert (problem.source, problem.file, problem.line, problem.column) == ("compile", "components/Hero.tsx", 10, 4)
    assert problem.message == (
        "Error: Expected ',', got ';'\n   9 |     </button>\n> 10 |   );\n\nParsing ecmascript source code failed"
    )


def test_an_error_without_a_line_still_names_its_file() -> None:
    (problem,) = hear(errors("./app/page.tsx\nModule not found: Can't resolve 'x'")).errors

    assert problem == Problem("compile", "Module not found: Can't resolve 'x'", "app/page.tsx")


def test_an_error_without_a_place_is_kept_whole() -> None:
    assert hear(errors("it broke: no idea where\nreally")).errors == (
        Problem("compile", "it broke: no idea where\nreally"),
    )


@pytest.mark.parametrize("module", [{"moduleName": "./app/page.tsx"}, {}])
def test_an_error_of_webpacks_loader_has_the_place_that_it_draws(module: dict[str, str]) -> None:
    text = (
        "Module build failed (from ./node_modules/next/dist/build/webpack/loaders/next-swc-loader.js):\n"
        "Error:   x Expression expected\n   ,-[/srv/apps/shop/app/page.tsx:4:1]\n 4 | const x = (;\n"
    )
    (problem,) = hear({"action": "built", "errors": [{"message": text, **module}]}, there=("app/page.tsx",)).errors

    assert (problem.file, problem.line, problem.column) == ("app/page.tsx", 4, 1)
    assert problem.message.startswith("Error:   x Expression expected\n   ,-[app/page.tsx:4:1]")


def test_the_file_of_an_app_in_a_folder_of_the_set_is_named_from_the_sets_root() -> None:
    frame = json.dumps(errors("./app/page.tsx:1:2\nboom"))
    there = {"apps/web/app/page.tsx", "app/page.tsx"}
    (problem,) = read(frame, NOTHING, there.__contains__, "/srv/mono", "apps/web").errors
    assert problem.file == "apps/web/app/page.tsx"
    frame = json.dumps(errors("./packages/ui/button.tsx:1:2\nboom"))
    (problem,) = read(frame, NOTHING, {"packages/ui/button.tsx"}.__contains__, "/srv/mono", "apps/web").errors
    assert problem.file == "packages/ui/button.tsx"


def test_an_error_that_is_said_twice_is_one_problem() -> None:
    assert len(hear(errors(HERO, HERO)).errors) == 1


def test_a_very_long_message_is_cut() -> None:
    assert len(hear(errors("./a.css\n" + "x" * 100_000)).errors[0].message) == 4000


@pytest.mark.parametrize(
    ("said", "there", "file"),
    [
        ("apps/shop/app/page.tsx", ("app/page.tsx",), "app/page.tsx"),
        ("shop/app/page.tsx", ("app/page.tsx",), "app/page.tsx"),
        ("shop/page.tsx", ("shop/page.tsx", "page.tsx"), "shop/page.tsx"),
        ("other/app/page.tsx", ("app/page.tsx",), "other/app/page.tsx"),
        ("app/gone.tsx", (), "app/gone.tsx"),
    ],
)
def test_a_path_from_a_root_above_the_workspace_is_told_from_the_workspace(
    said: str, there: tuple[str, ...], file: str
) -> None:
    assert hear(errors(f"./{said}:1:2\nno"), there=there).errors[0].file == file


def test_building_opens_a_compile_and_keeps_the_errors_until_the_result() -> None:
    building = hear({"type": "building"}, BROKEN)

    assert building == Compile(compiling=True, errors=BROKEN.errors)
    assert hear(errors(), building) == Compile()


def test_a_late_listener_learns_the_errors_from_sync() -> None:
    assert hear({"type": "sync", "errors": [{"message": HERO}], "warnings": []}).errors[0].line == 10


def test_the_frames_of_older_versions_are_understood() -> None:
    assert hear({"action": "building"}).compiling
    assert hear({"action": "built", "errors": ["./app/page.tsx\nno"]}).errors[0].file == "app/page.tsx"


@pytest.mark.parametrize(
    "frame", ["", "no json", "[]", "7", "{}", '{"type": 7}', '{"type": "reloadPage"}', '{"type": ["built"]}']
)
def test_what_is_not_about_the_compile_changes_nothing(frame: str) -> None:
    assert read(frame, BROKEN, lambda _: False, "/w") == BROKEN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "errors", "message", "x"]), inner),
)


@given(st.sampled_from(["building", "built", "sync"]), JSON)
def test_no_frame_breaks_the_reading(kind: str, errors_of_it: object) -> None:
    read(json.dumps({"type": kind, "errors": errors_of_it}), BROKEN, lambda _: False, "/w")
