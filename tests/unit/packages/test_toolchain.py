"""Which package manager, in which version, and what else an app gets: decided from its files alone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.packages.completion import missing_packages
from agent.packages.engines import mismatch
from agent.packages.generators import APP_SCRIPTS, Generator, can_find_app, files_named
from agent.packages.toolchain import choose_manager

BERRY = b"__metadata:\n  version: 8\n"
CLASSIC = b"# yarn lockfile v1\n"


@pytest.mark.parametrize(
    ("manifest", "files", "manager", "spec"),
    [
        ({}, {}, "npm", None),
        ({"packageManager": "npm@9.1.0"}, {}, "npm", None),
        ({"packageManager": "pnpm@10.1.0+sha512.ab"}, {}, "pnpm", None),
        ({"packageManager": "pnpm@9.15.9+sha512.ab"}, {}, "pnpm", "pnpm@9.15.9"),
        ({"packageManager": "pnpm@11.2.0"}, {"pnpm-lock.yaml": b"lockfileVersion: '9.0'"}, "pnpm", "pnpm@11.2.0"),
        ({"packageManager": "pnpm@1.0.0"}, {}, "pnpm", None),
        ({"devEngines": {"packageManager": {"name": "pnpm", "version": "^9.0.0"}}}, {}, "pnpm", "pnpm@^9.0.0"),
        ({"engines": {"pnpm": ">=9"}}, {"pnpm-lock.yaml": b""}, "pnpm", None),
        ({"engines": {"pnpm": "^9"}}, {"pnpm-lock.yaml": b""}, "pnpm", "pnpm@^9"),
        ({}, {"pnpm-lock.yaml": b"lockfileVersion: '9.0'"}, "pnpm", None),
        ({}, {"pnpm-lock.yaml": b"lockfileVersion: '6.0'"}, "pnpm", "pnpm@8"),
        ({}, {"pnpm-lock.yaml": b"lockfileVersion: 5.4"}, "pnpm", "pnpm@7"),
        ({}, {"yarn.lock": CLASSIC}, "yarn", None),
        ({}, {"yarn.lock": BERRY}, "yarn-berry", None),
        ({}, {"yarn.lock": b"", ".yarnrc.yml": b""}, "yarn-berry", None),
        ({"packageManager": "yarn@1.22.19"}, {}, "yarn", None),
        ({"packageManager": "yarn@3.6.0"}, {}, "yarn-berry", "@yarnpkg/cli-dist@3.6.0"),
        ({"packageManager": "yarn@4.1.0"}, {"yarn.lock": BERRY}, "yarn-berry", None),
        ({"packageManager": "yarn@4.1.0"}, {"yarn.lock": CLASSIC}, "yarn", None),
        ({"packageManager": "yarn@3.6.0"}, {".yarnrc.yml": b"yarnPath: .yarn/releases/y.cjs"}, "yarn-berry", None),
        ({"packageManager": "bun@1.0.0"}, {}, "bun", None),
        ({"packageManager": "pnpm@9; rm -rf /"}, {}, "pnpm", None),
    ],
)
def test_the_app_names_its_manager_and_the_major_version_of_it(
    manifest: dict[str, Any], files: dict[str, bytes], manager: str, spec: str | None
) -> None:
    tool = choose_manager(manifest, files, [name for name in files if "lock" in name]).tool
    assert (tool.manager, tool.spec) == (manager, spec)


def test_a_manager_that_nobody_knows_is_told() -> None:
    (note,) = choose_manager({"packageManager": "vlt@1"}, {}, []).notes
    assert note == "packageManager names vlt, which is not supported: npm installs the packages"


def test_a_typescript_app_on_next_gets_what_it_does_not_list() -> None:
    specs = {"next": "15", "react": "^18.2.0"}
    assert dict(missing_packages(specs, {"app/page.tsx"})) == {
        "typescript": "5.9.3",
        "@types/node": "22.19.1",
        "@types/react": "18.3.8",
    }
    assert [name for name, _ in missing_packages(specs | {"typescript": "5"}, {"tsconfig.json"})] == [
        "@types/node",
        "@types/react",
    ]
    assert dict(missing_packages(specs | {"react": "latest"}, {"a.ts"}))["@types/react"] == "19.2.7"
    assert missing_packages(specs, {"app/page.jsx", "types/x.d.ts"}) == ()
    assert missing_packages({"vite": "7"}, {"src/main.ts"}) == ()


def test_an_unsuitable_node_is_named_with_what_was_asked_for() -> None:
    said = mismatch(">=22", "v20.20.2")
    assert said is not None
    assert '">=22"' in said
    assert "20.20.2" in said
    assert mismatch("20.x", "v20.20.2") is None
    assert mismatch(None, "v20.20.2") is None
    assert mismatch(">=22", None) is None
    assert mismatch("lts/iron", "v20.20.2") is None


def test_a_script_that_knows_where_the_app_is_reads_the_files_whose_names_it_has() -> None:
    text = "const at = join(process.env.INIT_CWD, 'prisma', 'schema.prisma'); require('./index.js')"
    assert can_find_app(text)
    assert not can_find_app("node install.js")
    client = Generator("fake-client", "node_modules/fake-client", (("postinstall", "node x.js"),), text)
    assert [path for path in ("prisma/schema.prisma", "app/index.js", "package.json") if client.reads(path)] == [
        "prisma/schema.prisma"
    ]


def test_the_apps_own_scripts_read_the_files_that_they_and_known_generators_name() -> None:
    own = Generator(APP_SCRIPTS, "", (("postinstall", "x"),), "prisma generate && node ./scripts/gen.mjs")
    asked = ("db/schema.prisma", "scripts/gen.mjs", "scripts/other.mjs", "content/gen.mjs")
    assert [path for path in asked if own.reads(path)] == ["db/schema.prisma", "scripts/gen.mjs"]
    managed = {"scripts/gen.mjs", "app/page.tsx"}
    assert files_named(["node ./scripts/gen.mjs --all && echo app"], managed) == ["scripts/gen.mjs"]
