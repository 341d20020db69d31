"""Finds symptoms of a failing disk, cache, lock or configuration in the dev server's output. Pure.

The texts are those of Next 16.4 and Node; the tests have them as recorded. The app's code can print them too, so a
symptom alone never decides: `repair/diagnosis.py` needs a second sign, and every repair has a limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import unquote_plus

Symptom = Literal["lock_held", "port_taken", "disk_full", "watch_limit", "cache_unreadable", "config_failed"]

PANIC_SECONDS: Final = 120.0
PANICS_KEPT: Final = 10
SIGNATURE_CHARACTERS: Final = 200

_FLAGS: Mapping[Symptom, re.Pattern[str]] = {
    "lock_held": re.compile(r"Another next dev server is already running"),
    "port_taken": re.compile(r"listen EADDRINUSE"),
    "disk_full": re.compile(r"no space left on device", re.IGNORECASE),
    "watch_limit": re.compile(
        # Node reports a lack of watches as ENOSPC, and a lack of inotify instances as a lack of files.
        r"System limit for number of file watchers reached|OS file watch limit reached"
        r"|EMFILE: too many open files, watch|Too many open files \(os error 24\)"
    ),
    "cache_unreadable": re.compile(r"Failed to open database"),
    "config_failed": re.compile(r"Failed to load next\.config\."),
}
_FATAL: Mapping[re.Pattern[str], str] = {
    # Next installs these at its start. If that fails, it neither exits nor answers.
    re.compile(r"Failed to install required TypeScript dependencies"): (
        "Next.js could not install TypeScript: add typescript, @types/react and @types/node to package.json"
    ),
    re.compile(
        r"^\s*(?:\u2a2f )?(?:Unhandled Rejection|unhandledRejection): ?(?P<error>.{0,200})"
    ): "unhandled rejection",
}
_CONFIG_ERROR = re.compile(r"^\s*(?:\[cause\]: )?(?:\w{0,40}Error): (?P<error>.{1,500})")
_TRANSPILE = "Failed to transpile"
# The app's code may print lines of up to 8 KiB, so none of these expressions may backtrack.
_PANIC = re.compile(r"panicked at (?P<place>\S{1,200})|An unexpected Turbopack error occurred")
_TITLE = re.compile(r"[?&]title=(?P<title>[^&\s]+)")


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What one process has logged."""

    flags: frozenset[Symptom] = frozenset()
    panics: tuple[float, ...] = ()
    """When Turbopack panicked recently. At most one per second is counted, because one panic is logged in many lines.
    """
    signature: str | None = None
    """The kind of the last panic, without the parts that vary."""
    config_error: str | None = None
    """Why next.config could not be loaded."""


def after_line(line: str, before: Symptoms, now: float) -> Symptoms:
    flags = {flag for flag, pattern in _FLAGS.items() if pattern.search(line)}
    after = before if flags <= before.flags else replace(before, flags=before.flags | flags)
    if "cache_unreadable" in flags:
        after = replace(after, signature="Failed to open database")
    if "config_failed" in before.flags and (before.config_error is None or _TRANSPILE in before.config_error):
        error = _CONFIG_ERROR.match(line)
        after = (
            after
            if error is None
            else replace(after, config_error=error["error"].partition(" imported from ")[0].strip())
        )
    panic = _PANIC.search(line)
    if panic is not None and "turbo" in (panic["place"] or "turbo"):
        recent = tuple(at for at in after.panics if now - at < PANIC_SECONDS)
        if not recent or now - recent[-1] >= 1.0:
            recent = (*recent, now)[-PANICS_KEPT:]
        after = replace(after, panics=recent, signature=_general((panic["place"] or "").rstrip(":")) or after.signature)
    title = _TITLE.search(line)
    if title is not None and "Turbopack" in line:
        after = replace(after, signature=_general(unquote_plus(title["title"])))
    return after


def fatal_error(line: str) -> str | None:
    """The error in `line` after which a Next that has not answered yet never does."""
    for pattern, message in _FATAL.items():
        found = pattern.search(line)
        if found is not None:
            error = found.groupdict().get("error", "").strip(" {")
            return f"{message}: {error}" if error else message
    return None


def _general(text: str) -> str:
    """`text` without quoted names and numbers, so that the same failure has the same signature in every file."""
    return re.sub(r"\d+", "#", re.sub(r'"[^"]*"', "…", text))[:SIGNATURE_CHARACTERS]
