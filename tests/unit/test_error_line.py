"""Which line of a program's last output names its error; on what real programs printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.app_paths import relative_to
from agent.error_line import DETAIL_LINES, TEXT_CHARACTERS, find

RECORDED = Path(__file__).parent / "error_outputs"
SHORTEN = relative_to(["/srv/preview/workspace"])
MS = "Add ms to the dependencies in package.json, or remove the import of it."
EXPECTED = {
    "config_basepath": ('Error: Specified basePath has to start with a /, found "shop"', None),
    "config_env": (
        "Error: Missing required environment variable DATABASE_URL (next.config.mjs:1)",
        "Set DATABASE_URL in .env.local.",
    ),
    "config_invalid_options": (
        (
            "Error: failed to parse next.config.js: output: unknown variant `nowhere`, expected `standalone` or "
            "`export` at line 98 column 21"
        ),
        None,
    ),
    "config_js_missing": ("Error: Cannot find module 'ms' (next.config.js:1)", MS),
    "config_js_syntax": ("SyntaxError: Unexpected identifier 'images' (next.config.js)", None),
    "config_mjs_missing": ("Error: Cannot find package 'ms' (next.config.mjs)", MS),
    "config_mjs_syntax": ("SyntaxError: Unexpected identifier 'images' (next.config.mjs)", None),
    "config_rejects": ("Error: no connection to the CMS (next.config.js:1)", None),
    "config_t3": (
        "Error: Invalid environment variables: DATABASE_URL, AUTH_SECRET (env.mjs:3)",
        "Set DATABASE_URL and AUTH_SECRET in .env.local.",
    ),
    "config_ts_missing": ("Error: Cannot find module 'ms' (next.config.ts)", MS),
    "config_ts_syntax": ("Error: Expected ',', got 'ident' (next.config.ts:4)", None),
    "env_t3": (
        "Error: Invalid environment variables: DATABASE_URL, AUTH_SECRET, NEXT_PUBLIC_URL (env.mjs:2)",
        "Set DATABASE_URL, AUTH_SECRET and NEXT_PUBLIC_URL in .env.local.",
    ),
    "env_zod3": ("ZodError: DATABASE_URL, AUTH_SECRET (zod.mjs:2)", "Set DATABASE_URL and AUTH_SECRET in .env.local."),
    "env_zod4": ("ZodError: DATABASE_URL, AUTH_SECRET (zod4.mjs:2)", "Set DATABASE_URL and AUTH_SECRET in .env.local."),
    "instrumentation_throws": (
        (
            "Error: An error occurred while loading instrumentation hook: Missing required environment variable "
            "DATABASE_URL (instrumentation.ts:1)"
        ),
        "Set DATABASE_URL in .env.local.",
    ),
    "middleware_and_proxy": (
        (
            'Error: Both middleware file "./middleware.ts" and proxy file "./proxy.ts" are detected. '
            'Please use "./proxy.ts" only'
        ),
        None,
    ),
    "no_app_folder": (
        "Error: Couldn't find any `pages` or `app` directory. Please create one under the project root",
        None,
    ),
    "package_json_broken": (
        (
            "EJSONPARSE JSON.parse Invalid package.json: JSONParseError: Expected double-quoted property name in JSON "
            'at position 12 while parsing "{\\"name\\":\\"x\\",}\\n"'
        ),
        None,
    ),
    "port_in_use": (
        "Error: listen EADDRINUSE: address already in use 127.0.0.1:3001",
        "Another program uses that port. The server has to listen on the port in the variable PORT.",
    ),
    "server_missing": (
        "Error: Cannot find package 'express' (server.mjs)",
        "Add express to the dependencies in package.json, or remove the import of it.",
    ),
    "server_no_export": (
        "SyntaxError: The requested module 'node:http' does not provide an export named 'nothing' (server.mjs:1)",
        None,
    ),
    "server_rejects": (
        "Error: connect ECONNREFUSED 127.0.0.1:5432 (server.mjs:2)",
        "No server answers at that address from this machine: set an address that the app can reach here.",
    ),
    "server_syntax": ("SyntaxError: Unexpected identifier 'c' (server.mjs:3)", None),
    "server_throws": ("TypeError: Invalid URL (server.mjs:3)", None),
    "tsconfig_broken": ('SyntaxError: Unexpected token "', None),
    "tsx_missing": (
        "Error: Cannot find module 'gone' (server.ts)",
        "The import names a file that does not exist: correct its path, or add the file.",
    ),
    "tsx_syntax": ('Expected "}" but found "c" (server.ts:1)', None),
    "unknown_option": ("error: unknown option '--foo'", None),
    "vite_config_missing": ("Error: Cannot find package 'ms' (vite.config.js)", MS),
    "vite_config_syntax": ('Expected "}" but found "b" (vite.config.js:1)', None),
}


def test_each_recording_has_its_expectation() -> None:
    assert {path.stem for path in RECORDED.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_line_that_names_the_error_is_found_with_its_file(name: str) -> None:
    found = find((RECORDED / f"{name}.txt").read_text().splitlines())
    assert found is not None
    assert (SHORTEN(found.headline), found.advice) == EXPECTED[name]


def test_the_code_that_was_printed_beside_an_error_belongs_to_it() -> None:
    found = find((RECORDED / "config_ts_syntax.txt").read_text().splitlines())
    assert found is not None
    assert " 4 |   images: {}," in found.details
    assert not any("at " in line or "iojs" in line for line in found.details)
    node = find((RECORDED / "server_syntax.txt").read_text().splitlines())
    assert node is not None
    assert node.details == ("  c: 2", "  ^")
    frame = find((RECORDED / "instrumentation_throws.txt").read_text().splitlines())
    assert frame is not None
    assert frame.details[0].startswith("> 1 | export async function register()")


@pytest.mark.parametrize(
    ("line", "headline"),
    [
        ("[0] sh: 1: contentlayer: not found", "sh: 1: contentlayer: not found"),
        ("\x1b[31mTypeError: x is not a function\x1b[39m", "TypeError: x is not a function"),
        ("Uncaught ReferenceError: DATABASE_URL is not defined", "ReferenceError: DATABASE_URL is not defined"),
        ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", None),
    ],
)
def test_an_error_is_known_behind_what_other_programs_put_before_it(line: str, headline: str | None) -> None:
    found = find(["starting", line, "    at x (node:internal/y:1:2)"])
    assert found is not None
    assert found.headline == (headline or line)


def test_a_variable_that_is_not_defined_is_named_in_the_advice() -> None:
    found = find(["ReferenceError: DATABASE_URL is not defined"])
    assert found is not None
    assert found.advice == "Set DATABASE_URL in .env.local."


def test_without_a_headline_the_last_line_that_says_something_is_taken() -> None:
    found = find(["listening", "could not connect to the database", "    at x (/a.js:1:2)", "}"])
    assert found is not None
    assert found.headline == "could not connect to the database"
    assert find([]) is None
    assert find(["", "   "]) is None


PRINTED = st.one_of(
    st.text(max_size=60).map(lambda text: text.replace("\n", "")),
    st.sampled_from(["Error: x [", "npm error code E404", "- y", "   at a:1:2"]),
)


@given(st.lists(PRINTED))
def test_whatever_is_printed_what_is_found_is_short(lines: list[str]) -> None:
    found = find(lines)
    if found is not None:
        assert "\n" not in found.text
        assert len(found.text) <= TEXT_CHARACTERS
        assert len(found.details) <= DETAIL_LINES
