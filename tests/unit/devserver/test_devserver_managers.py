"""How package managers are called, and what their output says."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.packages.managers import MESSAGE_CHARACTERS, Reading, blame, command, disk_was_full
from agent.packages.wanted import Manager

NPM_404 = """npm warn Unknown user config "x". This will stop working.
npm error code E404
npm error 404 Not Found - GET https://registry.example/nowhere
npm error 404
npm error 404  The requested resource 'nowhere@1.0.0' could not be found or you do not have permission to access it.
npm error 404
npm error 404 Note that you can also install from a
npm error 404 tarball, folder, http url, or git url.
npm error A complete log of this run can be found in: /root/.npm/_logs/x-debug-0.log"""
BUN_404 = """Resolving dependencies
Resolved, downloaded and extracted [1]
error: GET https://registry.example/nowhere - 404
error: nowhere@1.0.0 failed to resolve"""
PNPM_404 = """Progress: resolved 0, reused 0, downloaded 0, added 0
Error: ERR_PNPM_FETCH_404

  x GET https://registry.example/nowhere: Not Found - 404
"""


@pytest.mark.parametrize(
    ("manager", "output", "message"),
    [
        (
            "npm",
            NPM_404,
            """code E404
404 Not Found - GET https://registry.example/nowhere
404  The requested resource 'nowhere@1.0.0' could not be found or you do not have permission to access it.""",
        ),
        ("bun", BUN_404, "error: GET https://registry.example/nowhere - 404\nerror: nowhere@1.0.0 failed to resolve"),
        ("pnpm", PNPM_404, "Error: ERR_PNPM_FETCH_404\n  x GET https://registry.example/nowhere: Not Found - 404"),
        ("npm", "sh: 1: nonsense: not found", "sh: 1: nonsense: not found"),
        ("pnpm", "", ""),
    ],
)
def test_the_lines_that_matter_are_found(manager: Manager, output: str, message: str) -> None:
    assert blame(manager, output.splitlines()) == message


@given(st.sampled_from(get_args(Manager)), st.lists(st.text()))
def test_a_message_is_never_endless(manager: Manager, lines: list[str]) -> None:
    assert len(blame(manager, lines)) <= MESSAGE_CHARACTERS


def test_what_npm_fetches_is_counted_and_not_shown() -> None:
    reading = Reading("npm")

    assert not reading.hear("npm http fetch GET 200 https://registry.example/a 12ms (cache miss)")
    assert not reading.hear("npm http cache a@https://registry.example/a.tgz 0ms (cache hit)")
    assert reading.progress == "2 fetched"
    assert reading.hear("added 1 package in 1s")
    assert reading.progress == "added 1 package in 1s"


def test_what_stays_for_a_while_is_no_option_of_the_command() -> None:
    assert command("npm", ("a@1",))[-2:] == ("--", "a@1")
    assert command("bun", ("a@1",))[-2:] == ("--", "a@1")
    assert command("pnpm", ("a@1",)) == command("pnpm")


@pytest.mark.parametrize("manager", get_args(Manager))
def test_every_manager_takes_the_cache_first(manager: Manager) -> None:
    assert command(manager)[0] == manager
    assert "--prefer-offline" in command(manager)


def test_npm_that_could_not_write_a_file_has_spoiled_the_tree_whatever_its_status_says() -> None:
    reading = Reading("npm")
    reading.hear("npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write")
    reading.hear("npm warn tar TAR_ENTRY_ERROR EIO: i/o error, write")
    assert reading.spoiled == "ENOSPC: no space left on device, write"
    assert disk_was_full(reading.spoiled)
    assert not disk_was_full("404 Not Found")
