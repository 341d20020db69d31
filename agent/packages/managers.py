"""How each package manager is called, what its output means, and what it writes beside node_modules. Pure.

All are asked the same: make node_modules what package.json and the lock file say, take what is in the cache without
asking the registry, ask nobody anything, and leave package.json and the lock file as they are: those are the backend's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent.packages.wanted import Manager

MESSAGE_LINES: Final = 12
MESSAGE_CHARACTERS: Final = 2000

_NPM = (
    *("npm", "install", "--no-save", "--prefer-offline", "--no-audit", "--no-fund", "--progress=false"),
    # npm is silent until its end otherwise. What it fetches is counted and not kept.
    "--loglevel=http",
)
_PNPM = (
    *("pnpm", "install", "--prefer-offline", "--frozen-lockfile=false", "--reporter=append-only"),
    *("--config.confirmModulesPurge=false",),
)
_BUN = ("--no-save", "--prefer-offline", "--no-progress")


Command = tuple[str, ...]


def command(manager: Manager, keep: tuple[str, ...] = ()) -> Command:
    """`keep`: packages as `name@version` that stay, although package.json does not name them; pnpm cannot."""
    match manager:
        case "npm":
            return (*_NPM, "--", *keep) if keep else _NPM
        case "pnpm":
            return _PNPM
        case "bun":
            return ("bun", "add", *_BUN, "--", *keep) if keep else ("bun", "install", *_BUN)


def can_keep(manager: Manager) -> bool:
    return manager != "pnpm"


_PATIENCE: Final[Mapping[str, str]] = {
    # Their own patience with a network that is gone is over a minute, in which no edit could be shown.
    "fetch_retries": "2",
    "fetch_retry_mintimeout": "1000",
    "fetch_retry_maxtimeout": "4000",
}
_NPM_SETTINGS: Final[Mapping[str, str]] = {
    # What an app's own .npmrc may say, and then npm succeeds without having touched node_modules.
    "global": "false",
    "location": "project",
    "dry_run": "false",
    "package_lock_only": "false",
    "update_notifier": "false",
    **_PATIENCE,
}
_PNPM_SETTINGS: Final[Mapping[str, str]] = {
    # A packageManager field makes pnpm fetch and become that version. The image has one, and a registry that lacks the
    # other must not stand in the way.
    "manage_package_manager_versions": "false",  # up to 10
    "pm_on_fail": "ignore",  # from 11 on
    **_PATIENCE,
}


def variables(manager: Manager) -> dict[str, str]:
    """What a manager is told besides the dev server's own environment."""
    told = {"NO_COLOR": "1", "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0"}
    match manager:
        case "npm":
            return told | {f"npm_config_{name}": value for name, value in _NPM_SETTINGS.items()}
        case "pnpm":  # the prefix changed with 11
            prefixes = ("npm_config_", "pnpm_config_")
            return told | {prefix + name: value for prefix in prefixes for name, value in _PNPM_SETTINGS.items()}
        case "bun":
            return told


_FETCHED = re.compile(r"npm http (?:fetch|cache) ")
_SPOILED = re.compile(r"npm warn tar TAR_ENTRY_ERROR (?P<why>.+)")
_NPM_ERROR = re.compile(r"npm (?:error|ERR!) ?")
_NPM_NOISE = re.compile(r"A complete log of this run|\d+ Note that you can also|\d+ tarball, folder|\d+$|$")
_START = {"pnpm": re.compile(r".*ERR_PNPM"), "bun": re.compile(r"error(?::| )")}


class Reading:
    """One run's output. `progress`: how far it is, in a few words. `spoiled`: what npm could not write, which it takes
    for a success all the same.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._fetched = 0
        self.progress = ""
        self.spoiled: str | None = None

    def hear(self, line: str) -> bool:
        """Whether people should see it."""
        if self._manager == "npm" and (found := _SPOILED.match(line)):
            self.spoiled = self.spoiled or found["why"][:MESSAGE_CHARACTERS]
        if _FETCHED.match(line):
            self._fetched += 1
            self.progress = f"{self._fetched} fetched"
            return False
        if line.strip() and not line.startswith("npm warn"):
            self.progress = line.strip()[:120]
        return True


def blame(manager: Manager, lines: Iterable[str]) -> str:
    """Why a run failed: the lines of its output that matter."""
    said = [line.rstrip() for line in lines if line.strip()]
    if manager == "npm":
        own = [line[found.end() :] for line in said if (found := _NPM_ERROR.match(line))]
        found_lines = [line for line in own if not _NPM_NOISE.match(line)]
    else:
        first = next((number for number, line in enumerate(said) if _START[manager].match(line)), len(said))
        found_lines = said[first:]
    matters = found_lines[:MESSAGE_LINES] or said[-MESSAGE_LINES:]
    return "\n".join(matters)[:MESSAGE_CHARACTERS]


def disk_was_full(why: str) -> bool:
    """Whether a run failed for that, by its own words. What it had written may be gone again when somebody looks."""
    return "ENOSPC" in why or "no space left on device" in why.casefold()
