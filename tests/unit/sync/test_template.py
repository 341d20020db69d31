"""Which files of the template stand beside a set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.paths import overlapping
from agent.sync.plan import Folder, Operation, Put, Remove, with_template
from agent.sync.template import has_route, stand_ins

CONFIGURATION = frozenset(
    {"package.json", "package-lock.json", "next.config.ts", "postcss.config.mjs", "tsconfig.json", ".gitignore"}
)
ROUTES = frozenset({"app/layout.tsx", "app/page.tsx", "app/globals.css", "app/icon.svg"})
TEMPLATE = CONFIGURATION | ROUTES


@pytest.mark.parametrize(
    "more", [set(), {"app/page.tsx"}, {"src/app/page.tsx"}, {"pages/index.js"}, {"next.config.js"}]
)
def test_nothing_of_the_template_stands_beside_a_package_json(more: set[str]) -> None:
    assert stand_ins(TEMPLATE, {"package.json", *more}) == {}


def test_nothing_of_the_template_stands_beside_an_app_in_a_folder() -> None:
    assert stand_ins(TEMPLATE, {"README.md", "web/package.json", "web/app/page.tsx"}) == {}


@pytest.mark.parametrize(
    "own", [{"main.c", "Makefile"}, {"requirements.txt", "shop/app.py"}, {"index.html", "style.css"}]
)
def test_the_template_does_not_stand_in_for_another_kind_of_project(own: set[str]) -> None:
    assert stand_ins(TEMPLATE, own) == {}
    assert stand_ins(TEMPLATE, {*own, "app/page.tsx"}), "with a page it is an app that has more in its folder"


def test_a_set_without_a_route_sees_the_whole_template() -> None:
    assert stand_ins(TEMPLATE, set()) == {path: path for path in TEMPLATE}
    assert stand_ins(TEMPLATE, {"components/Word.tsx"}) == {path: path for path in TEMPLATE}


@pytest.mark.parametrize(
    "route",
    [
        "app/shop/page.jsx",
        "src/app/page.tsx",
        "pages/index.tsx",
        "src/pages/about.mdx",
        "pages/api/x.ts",
        "app/x/route.ts",
    ],
)
def test_the_first_route_of_an_app_takes_the_templates_away(route: str) -> None:
    there = set(stand_ins(TEMPLATE, {route}))
    assert there - CONFIGURATION <= {"app/layout.tsx", "app/globals.css", "src/app/layout.tsx", "src/app/globals.css"}
    assert there >= CONFIGURATION
    if not route.startswith("app/"):
        assert not any(path.startswith("app/") for path in there), "a root app folder would hide the app's own"


@pytest.mark.parametrize(
    "path", ["app/layout.tsx", "pages/_app.tsx", "pages/_document.js", "app/globals.css", "apps/page.tsx"]
)
def test_what_is_no_route_takes_no_route_away(path: str) -> None:
    assert not has_route({path})
    assert "app/page.tsx" in stand_ins(TEMPLATE, {path})


def test_pages_without_a_layout_get_the_templates_in_their_own_folder() -> None:
    there = stand_ins(TEMPLATE, {"src/app/page.tsx", "src/app/globals.css"})
    assert there["src/app/layout.tsx"] == "app/layout.tsx"
    assert "src/app/globals.css" not in there, "the app has its own"
    assert "app/icon.svg" not in there
    assert not set(stand_ins(TEMPLATE, {"src/app/page.tsx", "src/app/(shop)/layout.tsx"})) - CONFIGURATION


@pytest.mark.parametrize(
    ("own", "gone"),
    [
        ("next.config.js", "next.config.ts"),
        ("postcss.config.js", "postcss.config.mjs"),
        ("jsconfig.json", "tsconfig.json"),
        ("pnpm-lock.yaml", "package-lock.json"),
    ],
)
def test_configuration_is_replaced_by_its_purpose(own: str, gone: str) -> None:
    there = set(stand_ins(TEMPLATE, {own, "app/page.tsx"}))
    assert CONFIGURATION - there == {gone}


PATHS = st.sampled_from(
    [
        *TEMPLATE,
        *(
            "next.config.js",
            "src/app/page.tsx",
            "src/app/layout.jsx",
            "pages/index.js",
            "app/a/page.tsx",
            "app/(x)/layout.tsx",
        ),
        *(
            "web/package.json",
            "app",
            "src",
            "postcss.config.mjs/x",
            "components/A.tsx",
            "app/layout.tsx/x",
            "pages/_app.js",
        ),
    ]
)
SETS = st.frozensets(PATHS).map(lambda paths: paths - overlapping(paths))


def performed(disk: dict[str, str], operations: tuple[Operation, ...]) -> dict[str, str]:
    """The files after each operation was done as a disk would, or an assertion where it could not."""
    files = dict(disk)
    for operation in operations:
        match operation:
            case Put(path, sha256):
                files[path] = sha256
                assert not overlapping(files), operation
            case Remove(path):
                files.pop(path)
            case Folder(path):
                assert path not in files, operation
    return files


@given(st.lists(SETS, max_size=6))
def test_the_disk_depends_on_the_newest_set_alone(sets: list[frozenset[str]]) -> None:
    """In every order of coming and going the workspace is what a new folder would hold: the set and its stand-ins."""
    disk, app = {path: f"template {path}" for path in TEMPLATE}, frozenset[str]()
    for new in sets:
        placed = {path for path in disk if disk[path].startswith("template ")}
        wanted = {
            target: Put(target, f"template {source}", 0, template=True)
            for target, source in stand_ins(TEMPLATE, new).items()
        }
        own: tuple[Operation, ...] = (
            *(Remove(path) for path in app - new if overlapping({path, *new})),
            *(Put(path, "app", 0) for path in sorted(new)),
            *(Remove(path) for path in app - new if not overlapping({path, *new})),
        )
        disk = performed(disk, with_template(own, placed=placed, wanted=wanted))
        app = new
        assert disk == dict.fromkeys(new, "app") | {
            target: f"template {source}" for target, source in stand_ins(TEMPLATE, new).items()
        }


@given(SETS)
def test_what_stands_beside_a_set_fits_on_one_disk_with_it(app: frozenset[str]) -> None:
    there = stand_ins(TEMPLATE, app)
    assert not overlapping(app | there.keys())
    assert not there.keys() & app
    assert set(there.values()) <= TEMPLATE
