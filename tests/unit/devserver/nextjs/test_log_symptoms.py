"""What Next 16.4.5 and Node 20 really said, each time something was taken from under them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devserver.nextjs.log_symptoms import (
    PANICS_KEPT,
    SIGNATURE_CHARACTERS,
    Symptom,
    Symptoms,
    after_line,
    fatal_error,
)

# Each from a real run: a second server, a taken port, a tmpfs of 16 KiB, one of 6 MiB and one with
# room for a first page but not for its cache on .next, a user namespace
# without inotify watches and one without instances, and caches whose files were filled with noise.
NEXT_OUTPUT = Path(__file__).with_name("next_output")
FATAL = "FATAL: An unexpected Turbopack error occurred. A panic log has been written to /tmp/next-panic-c5e0.log."
TITLE = "https://bugs.nextjs.org/search?category=turbopack-error-report&title=Turbopack%20Error%3A%20"


def after(name: str) -> Symptoms:
    symptoms = Symptoms()
    for line in (NEXT_OUTPUT / f"{name}.txt").read_text("utf-8").splitlines():
        symptoms = after_line(line, symptoms, 0.0)
    return symptoms


@pytest.mark.parametrize(
    ("name", "flags", "panics", "signature"),
    [
        ("lock_held", frozenset({"lock_held"}), 0, None),
        ("port_taken", frozenset({"port_taken"}), 0, None),
        ("disk_full_at_start", frozenset({"disk_full"}), 0, None),
        ("disk_full_later", frozenset({"disk_full"}), 1, "Turbopack Error: failed to write to …"),
        ("disk_full_for_the_cache", frozenset({"disk_full"}), 0, None),
        ("no_watches", frozenset({"watch_limit"}), 1, "Turbopack Error: Failed to write app endpoint /page"),
        ("no_instances", frozenset({"watch_limit"}), 1, "Turbopack Error: Too many open files (os error #)"),
        ("garbled_table", frozenset(), 1, "turbopack/crates/turbo-persistence/src/static_sorted_file.rs:#:#"),
        ("garbled_index", frozenset({"cache_unreadable"}), 0, "Failed to open database"),
        ("compile_error", frozenset(), 0, None),
    ],
)
def test_what_next_says_is_understood(name: str, flags: frozenset[Symptom], panics: int, signature: str | None) -> None:
    symptoms = after(name)

    assert symptoms.flags == flags
    assert (len(symptoms.panics), symptoms.signature) == (panics, signature)


def test_panics_of_one_second_are_one_panic() -> None:
    symptoms = Symptoms()
    for now in (0.0, 0.1, 0.9, 1.5, 30.0):
        symptoms = after_line(FATAL, symptoms, now)

    assert symptoms.panics == (0.0, 1.5, 30.0)


@given(st.lists(st.tuples(st.text(), st.floats(0, 10_000))))
def test_whatever_is_said_what_is_kept_is_bounded(lines: list[tuple[str, float]]) -> None:
    symptoms = Symptoms()
    for text, now in lines:
        symptoms = after_line(f"{FATAL} {text}", symptoms, now)
        symptoms = after_line(f"Turbopack {TITLE}{text}", symptoms, now)

    assert len(symptoms.panics) <= PANICS_KEPT
    assert len(symptoms.signature or "") <= SIGNATURE_CHARACTERS


def test_a_panic_of_another_program_is_not_turbopacks() -> None:
    assert after_line("thread 'main' panicked at src/main.rs:1:1:", Symptoms(), 0.0) == Symptoms()


@pytest.mark.parametrize("part", ["turbo/", "FATAL", '"', "?title=", "panicked at ", "EMFILE: ", "turbo:"])
def test_a_line_that_is_made_to_be_slow_to_read_is_not(part: str) -> None:
    """A thousand times over; one that goes back over what it read would take minutes, and the test's own time out."""
    line = f"panicked at {part * (8192 // len(part))} x"
    for _ in range(1000):
        after_line(line, Symptoms(), 0.0)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (
            [
                "\u2a2f Failed to load next.config.ts, see more info here https://nextjs.org/docs/messages/next-config-error",
                "Error: Cannot find module 'ms'",
                "Require stack:",
                "Error: another one",
            ],
            "Cannot find module 'ms'",
        ),
        (
            [
                "\u2a2f Failed to load next.config.mjs, see more info here",
                "Error: Cannot find package 'ms' imported from /somewhere/next.config.mjs",
            ],
            "Cannot find package 'ms'",
        ),
        (
            [
                "\u2a2f Failed to load next.config.ts, see more info here",
                'Error: Failed to transpile "next.config.ts".',
                "    at ignore-listed frames {",
                "  [cause]: SyntaxError: Unexpected token ,",
            ],
            "Unexpected token ,",
        ),
        (["Error: of a page"], None),
    ],
)
def test_why_next_config_could_not_be_loaded_is_the_error_behind_the_announcement(
    lines: list[str], error: str | None
) -> None:
    symptoms = Symptoms()
    for line in lines:
        symptoms = after_line(line, symptoms, 0.0)

    assert symptoms.config_error == error
    assert ("config_failed" in symptoms.flags) == (error is not None)


def test_what_next_says_before_it_never_answers_is_recognised() -> None:
    said = fatal_error("Failed to install required TypeScript dependencies, please install them manually to continue:")

    assert said is not None
    assert "add typescript" in said
    assert fatal_error("Unhandled Rejection: {") == "unhandled rejection"
    assert fatal_error("\u2a2f unhandledRejection: Error: no") == "unhandled rejection: Error: no"
    assert fatal_error("a page about an Unhandled Rejection: nothing") is None
