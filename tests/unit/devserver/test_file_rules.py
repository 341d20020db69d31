"""What files mean to the dev server, and what it is given from the agent's environment."""

from __future__ import annotations

import pytest

from agent.devserver.file_rules import Meaning, Routes, consequence, moved, routes, still_watched
from agent.devserver.frameworks.astro import ASTRO
from agent.devserver.frameworks.custom import OWN_SERVER
from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.nextjs import NEXT
from agent.devserver.frameworks.vite import VITE
from agent.isolation.child_environment import RUN_MARK, for_child


@pytest.mark.parametrize(
    ("written", "deleted", "expected"),
    [
        ((), (), "sources"),
        (("app/page.tsx",), ("app/old.tsx",), "sources"),
        (("app/page.tsx", "package.json"), (), "packages"),
        ((), ("pnpm-lock.yaml",), "packages"),
        (("examples/one/package.json",), (), "sources"),
        (("package.json", "next.config.ts"), (), "config"),
        (("package.json",), (".env",), "restart"),
        (("next.config.ts",), (), "config"),
        ((), ("next.config.mjs",), "config"),
        (("docs/next.config.ts",), (), "sources"),
        ((".env.local",), (), "sources"),
        ((), (".env",), "restart"),
        ((), (".env.development",), "restart"),
        ((), ("app/.env",), "sources"),
        (("next.config.ts",), (".env",), "restart"),
        (("instrumentation.ts",), (), "restart"),
        (("src/instrumentation.js",), (), "restart"),
        ((), ("instrumentation.ts",), "restart"),
        (("instrumentation-client.ts",), (), "sources"),
        (("lib/instrumentation.ts",), (), "sources"),
        (("src/next.config.ts",), (".env.src",), "restart"),
        (("src/next.config.ts",), ("src/.env",), "sources"),
    ],
)
def test_a_set_asks_for_what_next_does_not_heal_itself(
    written: tuple[str, ...], deleted: tuple[str, ...], expected: Meaning
) -> None:
    asked = consequence(written, deleted)

    assert asked.meaning == expected
    assert bool(asked.why) == (expected == "restart")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({"app"}, Routes("app", None)),
        ({"src/app", "src/pages"}, Routes("src/app", "src/pages")),
        ({"app", "src/app", "src/pages"}, Routes("app", "src/pages")),
        ({"lib"}, Routes()),
    ],
)
def test_a_folder_at_the_root_hides_the_one_below_src(there: set[str], expected: Routes) -> None:
    assert routes(NEXT, "", there.__contains__) == expected
    assert routes(NEXT, "apps/web", {f"apps/web/{path}" for path in there}.__contains__) == expected
    assert routes(VITE, "", there.__contains__) == Routes()


@pytest.mark.parametrize(
    ("known", "now", "restarts"),
    [
        (Routes("app"), Routes("src/app"), True),
        (Routes("src/app"), Routes("app"), True),
        (Routes("app"), Routes(None, "pages"), True),
        (Routes(None, "pages"), Routes("app"), True),
        (Routes(None, "pages"), Routes(None, "src/pages"), True),
        (Routes("app"), Routes("app", "pages"), True),
        (Routes(None, "pages"), Routes("app", "pages"), True),
        (Routes("app", "pages"), Routes(None, "pages"), True),
        (Routes("app", "pages"), Routes("app"), False),
        (Routes("app"), Routes("app"), False),
        (Routes("app"), Routes(), False),
    ],
)
def test_a_folder_of_routes_that_next_never_looked_for_needs_a_restart(
    known: Routes, now: Routes, *, restarts: bool
) -> None:
    asked = moved(known, now)

    assert (asked is not None) == restarts
    if asked is not None:
        assert asked.meaning == "restart"
        assert asked.why.startswith("the routes are in ")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("apps/web/next.config.ts", "config"),
        ("next.config.ts", "sources"),
        ("apps/web/.env", "restart"),
        (".env", "sources"),
        ("apps/web/package.json", "packages"),
        ("package.json", "packages"),
        ("pnpm-lock.yaml", "packages"),
    ],
)
def test_the_files_that_count_are_those_of_the_apps_own_folder(path: str, expected: Meaning) -> None:
    assert consequence((), (path,), "apps/web").meaning == expected


@pytest.mark.parametrize(
    ("framework", "written", "deleted", "expected"),
    [
        (VITE, ("vite.config.ts",), (), "config"),
        (VITE, ("next.config.ts",), (), "sources"),
        (VITE, (), (".env",), "sources"),  # it restarts itself
        (ASTRO, ("astro.config.mjs",), (), "config"),
        (OWN_SERVER, (".env",), (), "restart"),
        (OWN_SERVER, ("server.mjs",), (), "sources"),
    ],
)
def test_what_a_file_means_depends_on_the_framework(
    framework: Framework, written: tuple[str, ...], deleted: tuple[str, ...], expected: Meaning
) -> None:
    assert consequence(written, deleted, "", framework).meaning == expected


def test_the_child_gets_what_is_on_the_list_and_nothing_else() -> None:
    passed = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "NODE_OPTIONS": "--max-old-space-size=512"}
    kept = {
        "API_KEY": "secret",
        "APP_ID": "a",
        "PORT": "3000",
        "HOSTNAME": "box",
        "NODE_ENV": "production",
        "TERM": "xterm",
        "SOME_ASSISTANT": "1",
        RUN_MARK: "the run of an agent around this one",
    }

    assert for_child(passed | kept, "r1") == passed | {"NEXT_TELEMETRY_DISABLED": "1", RUN_MARK: "r1"}


@pytest.mark.parametrize(
    ("known", "gone", "back"),
    [
        (Routes("app"), Routes(), Routes("app")),
        (Routes("src/app"), Routes(), Routes("src/app")),
        (Routes("app", "pages"), Routes("app"), Routes("app", "pages")),
        (Routes(None, "pages"), Routes(), Routes(None, "pages")),
    ],
)
def test_a_folder_that_was_deleted_and_comes_back_needs_a_restart(known: Routes, gone: Routes, back: Routes) -> None:
    assert moved(known, gone) is None
    asked = moved(still_watched(known, gone), back)
    assert asked is not None
    assert asked.meaning == "restart"
