"""How each package manager is called, and what it is told through its environment. Pure.

All are asked the same: make node_modules what package.json and the lock file say, ask nobody anything, and leave
package.json and the lock file as they are: those are the backend's. The cache is taken without asking the registry only
where a lock file names the versions; without one it would stand for versions that are no longer the newest.

What must not live here: what their output means (output.py), and which one is used (toolchain.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agent.packages.toolchain import Manager

Command = tuple[str, ...]

_NPM = (
    *("install", "--no-save", "--no-audit", "--no-fund", "--progress=false"),
    # npm is silent until its end otherwise. What it fetches is counted and not kept.
    "--loglevel=http",
)
_PNPM = (
    *("install", "--frozen-lockfile=false", "--reporter=append-only", "--config.confirmModulesPurge=false"),
    # A finished tree is not thrown away because a build script was not allowed: that is told instead.
    *("--config.strictDepBuilds=false", "--config.engineStrict=false"),
)
_YARN = ("install", "--non-interactive", "--no-progress", "--ignore-engines", "--pure-lockfile")
_BUN = ("--no-save", "--no-progress")


def command(
    manager: Manager,
    keep: tuple[str, ...] = (),
    *,
    program: str | None = None,
    locked: bool = False,
    legacy_peers: bool = False,
) -> Command:
    """`keep`: packages as `name@version` that are installed although package.json does not name them, where the
    manager `takes_packages`. `program`: what to run, where it is not found on PATH by the manager's name. `locked`: a
    lock file names the versions. `legacy_peers`: npm is to ignore peer dependencies, as it did up to version 6.
    """
    cached = ("--prefer-offline",) if locked else ()
    match manager:
        case "npm":
            peers = ("--legacy-peer-deps",) if legacy_peers else ()
            return (program or "npm", *_NPM, *cached, *peers, *(("--", *keep) if keep else ()))
        case "pnpm":
            return (program or "pnpm", *_PNPM, *cached)
        case "yarn":
            return (program or "yarn", *_YARN, *cached)
        case "yarn-berry":
            return (program or "yarn-berry", "install")
        case "bun":
            given = ("add", *_BUN, *cached, "--", *keep) if keep else ("install", *_BUN, *cached)
            return (program or "bun", *given)


def takes_packages(manager: Manager) -> bool:
    """Whether packages can be named on its command line without being written into package.json."""
    return manager in {"npm", "bun"}


def layout(manager: Manager) -> str:
    """Which trees a manager can go on with: npm and bun share one form, the others have their own records."""
    return "flat" if manager in {"npm", "bun"} else manager


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
    # An unsuitable Node.js is a warning of ours.
    "engine_strict": "false",
    **_PATIENCE,
}
_PNPM_SETTINGS: Final[Mapping[str, str]] = {
    # A packageManager field makes pnpm fetch and become that version; which version runs is toolchain.py's to say.
    "manage_package_manager_versions": "false",  # up to 10
    "pm_on_fail": "ignore",  # from 11 on
    "package_manager_strict": "false",  # 9
    **_PATIENCE,
}
_YARN_SETTINGS: Final[Mapping[str, str]] = {
    # It refuses to run where package.json names another version.
    "SKIP_YARN_COREPACK_CHECK": "1",
}
_BERRY_SETTINGS: Final[Mapping[str, str]] = {
    "YARN_ENABLE_IMMUTABLE_INSTALLS": "false",
    "YARN_ENABLE_TELEMETRY": "false",
    "YARN_ENABLE_PROGRESS_BARS": "false",
    "YARN_ENABLE_COLORS": "false",
    "YARN_ENABLE_HYPERLINKS": "false",
    "YARN_ENABLE_INLINE_BUILDS": "true",  # what a build script says is in a file elsewhere otherwise
    "YARN_HTTP_RETRY": "2",
}
_LINKER: Final = re.compile(rb"^nodeLinker: *['\"]?([\w-]+)", re.MULTILINE)
_REGISTRY: Final = re.compile(rb"^\s*registry\s*=\s*(\S+)", re.MULTILINE)


def variables(manager: Manager, *, yarnrc: bytes = b"", npmrcs: tuple[bytes, ...] = ()) -> dict[str, str]:
    """What a manager is told besides the dev server's own environment.

    `yarnrc`: the app's .yarnrc.yml. `npmrcs`: the app's .npmrc and the user's, the first to name a registry counts;
    yarn 2 and up reads neither, and the machine's registry has to be told to it.
    """
    told = {"NO_COLOR": "1", "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0"}
    match manager:
        case "npm":
            return told | {f"npm_config_{name}": value for name, value in _NPM_SETTINGS.items()}
        case "pnpm":  # the prefix changed with 11
            prefixes = ("npm_config_", "pnpm_config_")
            settings = {prefix + name: value for prefix in prefixes for name, value in _PNPM_SETTINGS.items()}
            # A script that calls pnpm again is started without the lower-case ones, and these are read all the same.
            scripts = {f"NPM_CONFIG_{name.upper()}": value for name, value in _PNPM_SETTINGS.items()}
            return told | settings | scripts
        case "yarn":
            return {**told, **_YARN_SETTINGS}
        case "yarn-berry":
            return {**told, **_BERRY_SETTINGS, **_berry(yarnrc, npmrcs)}
        case "bun":
            return told


def plugs_and_plays(yarnrc: bytes) -> bool:
    """Whether yarn 2 and up would make no node_modules: that is its default."""
    found = _LINKER.search(yarnrc)
    return found is None or found[1] == b"pnp"


def _berry(yarnrc: bytes, npmrcs: tuple[bytes, ...]) -> dict[str, str]:
    told = {}
    if plugs_and_plays(yarnrc):
        told["YARN_NODE_LINKER"] = "node-modules"
    if b"npmRegistryServer" not in yarnrc:
        named = next((found[1] for npmrc in npmrcs if (found := _REGISTRY.search(npmrc))), None)
        if named is not None:
            told["YARN_NPM_REGISTRY_SERVER"] = named.decode("utf-8", "replace").strip("'\"")
    return told
