"""What the output of the package managers says; the texts are theirs, shortened."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.packages.causes import find_cause
from agent.packages.output import MESSAGE_CHARACTERS, OutputReader, disk_was_full
from agent.packages.skipped_builds import count_blocked_by_bun, skipped_packages
from agent.packages.toolchain import Manager

NPM_404 = """npm warn Unknown user config "x". This will stop working.
npm error code E404
npm error 404 Not Found - GET https://registry.example/nowhere
npm error 404
npm error 404  The requested resource 'nowhere@1.0.0' could not be found or you do not have permission to access it.
npm error 404
npm error 404 Note that you can also install from a
npm error 404 tarball, folder, http url, or git url.
npm error A complete log of this run can be found in: /root/.npm/_logs/x-debug-0.log"""
NPM_SCRIPT = """npm error code 1
npm error path node_modules/b
npm error command failed
npm error command sh -c node x.js
npm error one
npm error throw new Error("the reason")
npm error                     ^
npm error
npm error Error: the reason
npm error     at Object.<anonymous> (node_modules/b/x.js:1:27)
npm error
npm error Node.js v20.20.2
npm error A complete log of this run can be found in: /root/.npm/_logs/x-debug-0.log"""
NPM_PEERS = """npm error code ERESOLVE
npm error ERESOLVE unable to resolve dependency tree
npm error While resolving: x@undefined
npm error Found: react@19.1.0
npm error Could not resolve dependency:
npm error peer react@"^16.8.5 || ^17.0.0 || ^18.0.0" from react-beautiful-dnd@13.1.1"""
PNPM_404 = """Progress: resolved 0, reused 0, downloaded 0, added 0
 ERR_PNPM_FETCH_404  GET https://registry.example/nowhere: Not Found - 404

This error happened while installing a direct dependency of .

No authorization header was set for the request."""
PNPM_SCRIPT = """Progress: resolved 1, reused 0, downloaded 1, added 1, done
.../node_modules/b postinstall$ node x.js
.../node_modules/b postinstall: one
.../node_modules/b postinstall: Error: the reason
.../node_modules/b postinstall:     at Object.<anonymous> (x.js:1:27)
.../node_modules/b postinstall: Failed
 ELIFECYCLE  Command failed with exit code 1."""
PNPM_YAML = """ ERROR  bad indentation of a mapping entry (3:2)

 1 | packages:
 2 |   - a
 3 |  b: c
------^
For help, run: pnpm help install"""
YARN = """[1/4] Resolving packages...
error Couldn't find any versions for "ms" that matches "99.0.0"
info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command."""
YARN_SCRIPT = """error node_modules/b: Command failed.
Exit code: 1
Command: node x.js
Output:
one
Error: the reason
    at node:internal/main/run_main_module:28:49
info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command."""
BERRY = """➤ YN0000: ┌ Resolution step
➤ YN0082: │ ms@npm:99.0.0: No candidates found
➤ YN0000: └ Completed
➤ YN0000: · Failed with errors in 0s 144ms"""
BERRY_SCRIPT = """➤ YN0007: │ b@file:b.tgz must be built because it never has been before or the last one failed
➤ YN0000: │ b@file:b.tgz STDOUT one
➤ YN0000: │ b@file:b.tgz STDERR Error: the reason
➤ YN0009: │ b@file:b.tgz couldn't be built successfully (exit code 1, logs can be found here: /tmp/x/build.log)"""
BUN = """bun install v1.4.5 (a7733435c)
error: No version matching "99.0.0" found for specifier "ms" (but package exists)
error: ms@99.0.0 failed to resolve"""
BUN_SCRIPT = """Resolving dependencies
one
Error: the reason
    at node:internal/main/run_main_module:28:49

error: postinstall script from "b" exited with 1"""


@pytest.mark.parametrize(
    ("manager", "output", "code", "message"),
    [
        (
            "npm",
            NPM_404,
            "E404",
            "\n".join(NPM_404.replace("npm error ", "").splitlines()[index] for index in (1, 2, 4)),
        ),
        (
            "pnpm",
            PNPM_404,
            "ERR_PNPM_FETCH_404",
            "\n".join(PNPM_404.splitlines()[index].strip() for index in (1, 3)),
        ),
        ("yarn", YARN, None, 'Couldn\'t find any versions for "ms" that matches "99.0.0"'),
        ("yarn-berry", BERRY, "YN0082", "YN0082: ms@npm:99.0.0: No candidates found"),
        (
            "bun",
            BUN,
            None,
            "\n".join(BUN.splitlines()[1:]),
        ),
        ("npm", "sh: 1: nonsense: not found", None, "sh: 1: nonsense: not found"),
        ("pnpm", "", None, ""),
    ],
)
def test_the_lines_that_matter_are_found(manager: Manager, output: str, code: str | None, message: str) -> None:
    found = find_cause(manager, output.splitlines())
    assert (found.code, found.message, found.script) == (code, message, False)


@pytest.mark.parametrize(
    ("manager", "output"),
    [
        ("npm", NPM_SCRIPT),
        ("pnpm", PNPM_SCRIPT),
        ("yarn", YARN_SCRIPT),
        ("yarn-berry", BERRY_SCRIPT),
        ("bun", BUN_SCRIPT),
    ],
)
def test_of_a_script_that_failed_its_own_last_lines_are_the_reason(manager: Manager, output: str) -> None:
    found = find_cause(manager, output.splitlines())
    assert found.script
    assert found.message.startswith("an install script of b failed")
    assert found.message.endswith("\none\nError: the reason")


def test_packages_whose_peers_contradict_each_other_are_named() -> None:
    assert find_cause("npm", NPM_PEERS.splitlines()).conflicts == ("react@19.1.0", "react-beautiful-dnd@13.1.1")


def test_a_yaml_file_that_cannot_be_read_is_named_with_its_place() -> None:
    found = find_cause("pnpm", PNPM_YAML.splitlines())
    assert (found.file, found.line, found.column) == ("pnpm-workspace.yaml", 3, 2)
    assert " 3 |  b: c" in found.message


@given(st.sampled_from(get_args(Manager)), st.lists(st.text()))
def test_a_message_is_never_endless(manager: Manager, lines: list[str]) -> None:
    assert len(find_cause(manager, lines).message) <= MESSAGE_CHARACTERS
    skipped_packages(manager, lines)


def test_skipped_build_scripts_are_named() -> None:
    box = [
        "│   Ignored build scripts: better-sqlite3@12.4.1, @scope/it@0.25.0,              │",
        "│   sharp@0.34.4.                                                              │",
        '│   Run "pnpm approve-builds" to pick which dependencies should be allowed     │',
    ]
    assert skipped_packages("pnpm", box) == ("better-sqlite3", "@scope/it", "sharp")
    said = ["➤ YN0004: │ esbuild@npm:0.25.0 lists build scripts, but all build scripts have been disabled."]
    assert skipped_packages("yarn-berry", said) == ("esbuild",)
    assert count_blocked_by_bun(["", "Blocked 2 postinstalls. Run `bun pm untrusted` for details."]) == 2


def test_a_skipped_package_that_is_no_version_of_a_registry_is_named_as_pnpm_wants_it_allowed() -> None:
    said = ["│   Ignored build scripts: db@file:vendor/db-1.0.0.tgz, @a/b@git+https://x/b.git#1f.  │"]
    assert skipped_packages("pnpm", said) == ("db@file:vendor/db-1.0.0.tgz", "@a/b@git+https://x/b.git#1f")


def test_what_npm_fetches_is_counted_and_not_shown() -> None:
    reader = OutputReader("npm")

    assert not reader.read_line("npm http fetch GET 200 https://registry.example/a 12ms (cache miss)")
    assert not reader.read_line("npm http cache a@https://registry.example/a.tgz 0ms (cache hit)")
    assert reader.progress == "2 fetched"
    assert reader.read_line("added 1 package in 1s")
    assert reader.progress == "added 1 package in 1s"


def test_npm_that_that_could_not_write_a_file_has_failed_whatever_its_status() -> None:
    reader = OutputReader("npm")
    reader.read_line("npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write")
    reader.read_line("npm warn tar TAR_ENTRY_ERROR EIO: i/o error, write")
    assert reader.unpack_error == "ENOSPC: no space left on device, write"
    assert disk_was_full(reader.unpack_error)
    assert not disk_was_full("404 Not Found")
