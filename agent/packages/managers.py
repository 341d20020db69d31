"""The command and the environment with which each package manager installs. Pure.

All are called for the same purpose: make node_modules match package.json and the lock file, ask no questions, and leave
both files unchanged, because they are the backend's. The cache is used without asking the registry only if a lock file
fixes the versions; otherwise it would supply versions that are no longer the newest.

What must not live here: what the output means (output.py), and which manager is used (toolchain.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agent.packages.toolchain import Manager

Command = tuple[str, ...]

_NPM = (
    *("install", "--no-save", "--no-audit", "--no-fund", "--progress=false"),
    # Otherwise npm is silent until its end. The lines of its fetches are counted and not logged.
    "--loglevel=http",
)
_PNPM = (
    *("install", "--frozen-lockfile=false", "--reporter=append-only", "--config.confirmModulesPurge=false"),
    # A build script that is not allowed must not fail the installation; skipped_builds.py reports it instead.
    *("--config.strictDepBuilds=false", "--config.engineStrict=false"),
)
_YARN = ("install", "--non-interactive", "--no-progress", "--ignore-engines", "--pure-lockfile")
_BUN = ("--no-save", "--no-progress")


def install_command(
    manager: Manager,
    keep: tuple[str, ...] = (),
    *,
    program: str | None = None,
    locked: bool = False,
    legacy_peers: bool = False,
) -> Command:
    """The command that installs. `keep`: `name@version` of packages that are installed although package.json does not
    name them, for a manager that `accepts_packages`. `program`: the path of the manager's program, if not found on PATH
    by its name. `locked`: a lock file fixes the versions. `legacy_peers`: npm ignores peer dependencies, as npm 6 did.
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


def accepts_packages(manager: Manager) -> bool:
    """Whether packages on the command line are installed without being written into package.json."""
    return manager in {"npm", "bun"}


def tree_layout(manager: Manager) -> str:
    """The layout of the manager's node_modules. npm and bun share one; the others have records of their own in it."""
    return "flat" if manager in {"npm", "bun"} else manager


_RETRIES: Final[Mapping[str, str]] = {
    # By default they retry for over a minute without a network, and no edit could be shown meanwhile.
    "fetch_retries": "2",
    "fetch_retry_mintimeout": "1000",
    "fetch_retry_maxtimeout": "4000",
}
_NPM_SETTINGS: Final[Mapping[str, str]] = {
    # With other values in an app's .npmrc, npm succeeds without installing anything into node_modules.
    "global": "false",
    "location": "project",
    "dry_run": "false",
    "package_lock_only": "false",
    "update_notifier": "false",
    # The agent itself warns about an unsuitable Node.js.
    "engine_strict": "false",
    **_RETRIES,
}
_PNPM_SETTINGS: Final[Mapping[str, str]] = {
    # A packageManager field makes pnpm download that version and run it. toolchain.py decides which version runs.
    "manage_package_manager_versions": "false",  # up to pnpm 10
    "pm_on_fail": "ignore",  # since pnpm 11
    "package_manager_strict": "false",  # pnpm 9
    **_RETRIES,
}
_YARN_SETTINGS: Final[Mapping[str, str]] = {
    # yarn 1 refuses to run if package.json names another version.
    "SKIP_YARN_COREPACK_CHECK": "1",
}
_BERRY_SETTINGS: Final[Mapping[str, str]] = {
    "YARN_ENABLE_IMMUTABLE_INSTALLS": "false",
    "YARN_ENABLE_TELEMETRY": "false",
    "YARN_ENABLE_PROGRESS_BARS": "false",
    "YARN_ENABLE_COLORS": "false",
    "YARN_ENABLE_HYPERLINKS": "false",
    "YARN_ENABLE_INLINE_BUILDS": "true",  # otherwise the output of build scripts goes to a file
    "YARN_HTTP_RETRY": "2",
}
_LINKER: Final = re.compile(rb"^nodeLinker: *['\"]?([\w-]+)", re.MULTILINE)
_REGISTRY: Final = re.compile(rb"^\s*registry\s*=\s*(\S+)", re.MULTILINE)


def environment(manager: Manager, *, yarnrc: bytes = b"", npmrcs: tuple[bytes, ...] = ()) -> dict[str, str]:
    """The environment variables of a manager, besides the dev server's own.

    `yarnrc`: the app's .yarnrc.yml. `npmrcs`: the app's .npmrc and then the user's; the first registry that they name
    is passed to yarn 2 and later, which reads neither.
    """
    common = {"NO_COLOR": "1", "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0"}
    match manager:
        case "npm":
            return common | {f"npm_config_{name}": value for name, value in _NPM_SETTINGS.items()}
        case "pnpm":  # the prefix changed with pnpm 11
            prefixes = ("npm_config_", "pnpm_config_")
            settings = {prefix + name: value for prefix in prefixes for name, value in _PNPM_SETTINGS.items()}
            # pnpm removes the lower-case ones from the environment of scripts, which may call pnpm again.
            scripts = {f"NPM_CONFIG_{name.upper()}": value for name, value in _PNPM_SETTINGS.items()}
            return common | settings | scripts
        case "yarn":
            return {**common, **_YARN_SETTINGS}
        case "yarn-berry":
            return {**common, **_BERRY_SETTINGS, **_berry_settings(yarnrc, npmrcs)}
        case "bun":
            return common


def uses_plug_and_play(yarnrc: bytes) -> bool:
    """Whether yarn 2 and later would use Plug'n'Play, its default, instead of node_modules."""
    found = _LINKER.search(yarnrc)
    return found is None or found[1] == b"pnp"


def _berry_settings(yarnrc: bytes, npmrcs: tuple[bytes, ...]) -> dict[str, str]:
    settings = {}
    if uses_plug_and_play(yarnrc):
        settings["YARN_NODE_LINKER"] = "node-modules"
    if b"npmRegistryServer" not in yarnrc:
        named = next((found[1] for npmrc in npmrcs if (found := _REGISTRY.search(npmrc))), None)
        if named is not None:
            settings["YARN_NPM_REGISTRY_SERVER"] = named.decode("utf-8", "replace").strip("'\"")
    return settings
