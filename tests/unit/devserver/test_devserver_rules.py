"""What files mean to the dev server, and what it is given from the agent's environment."""

from __future__ import annotations

import pytest

from agent.devserver.frameworks.astro import ASTRO
from agent.devserver.frameworks.custom import OWN_SERVER
from agent.devserver.frameworks.framework import Framework
from agent.devserver.frameworks.vite import VITE
from agent.devserver.rules import Meaning, meaning
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
    ],
)
def test_a_set_asks_for_what_next_does_not_heal_itself(
    written: tuple[str, ...], deleted: tuple[str, ...], expected: Meaning
) -> None:
    assert meaning(written, deleted) == expected


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
    assert meaning((), (path,), "apps/web") == expected


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
    assert meaning(written, deleted, "", framework) == expected


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
