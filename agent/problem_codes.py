"""The stable codes of problems, with the usual cause of each and what to do about it. Pure.

`/status`, reports and the failed page show the codes, and README's table is generated from this module. The meaning of
a code never changes, because programs compare it. The message of a problem is more specific than the texts here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Explanation(NamedTuple):
    cause: str
    action: str


GENERAL: Final[Mapping[str, str]] = {
    "compile": "compile-error",
    "runtime": "runtime-error",
    "install": "install-failed",
    "sync": "sync-failed",
    "dev_server": "dev-server-failed",
}
"""The code of a problem that has no more specific one, by its source."""

CODES: Final[Mapping[str, Explanation]] = {
    "compile-error": Explanation(
        "A source file does not compile, or an import is not found",
        "Correct the file at the line that is given; the page follows by itself",
    ),
    "runtime-error": Explanation("The app threw an error while it rendered", "Correct the code that is named"),
    "broken-file": Explanation(
        "package.json, tsconfig.json or a lock file cannot be parsed", "Correct the line that is shown"
    ),
    "two-proxies": Explanation(
        "middleware and proxy both exist, and Next.js 16 does not start with both",
        "Move the code into proxy, and delete middleware",
    ),
    "install-failed": Explanation(
        "The package manager failed; the message has its reason",
        "Correct package.json, the lock file or what the install script needs; the change starts a new installation",
    ),
    "peer-conflict": Explanation(
        "Peer dependencies contradict each other; npm was run again with --legacy-peer-deps",
        "Choose versions that fit together, or leave it: the app runs",
    ),
    "engine-mismatch": Explanation(
        "package.json asks for another version of Node.js than the one that runs",
        "Change `engines`, or use an image with that Node.js",
    ),
    "builds-skipped": Explanation(
        "pnpm, yarn or bun did not run the build scripts of some packages",
        "Allow the named packages in the setting that the message names, if the app needs what they build",
    ),
    "script-failed": Explanation(
        "An install script failed that runs again when the files it reads change", "Correct the file or the script"
    ),
    "package-manager": Explanation(
        "Another package manager or version was used than the app names, or the manager ignores a part of the app",
        "Do what the message names: usually a version in `packageManager`, or a field in package.json",
    ),
    "node-linker": Explanation(
        "The app uses yarn's Plug'n'Play; its packages were installed into node_modules instead",
        "Nothing, or set `nodeLinker: node-modules` yourself",
    ),
    "cannot-start": Explanation(
        "There is nothing to run: no web app in the folder, no `dev` script, or more than one app",
        "Add what the message names, or set APP_DIR or DEV_COMMAND",
    ),
    "dev-server-failed": Explanation(
        "The dev server stopped by itself; after repeated failures it is not started again until files change",
        "Correct what its last lines name, or call POST /restart",
    ),
    "wrong-port": Explanation(
        "The app's server listens on a port of its own choice", "Read the port from the variable PORT"
    ),
    "page-hangs": Explanation(
        "Rendering one page never ends and blocks the dev server, often because of an endless loop",
        "Correct that page; it is rendered again when a file changes",
    ),
    "resource-limit": Explanation(
        "The machine is short of memory, disk or file watches, or another process holds what the server needs",
        "Do what the message names: a larger machine, fewer files, or another sysctl",
    ),
    "sync-failed": Explanation(
        "The app's files could not be fetched or written", "The message says why; it is tried again by itself"
    ),
    "path-refused": Explanation(
        "A path in the backend's answer is not allowed, and was left out", "Rename or remove the file in the backend"
    ),
    "path-problem": Explanation(
        "A file could not be written, or was edited on the disk",
        "Remove what is in its place; the message names where an edit was kept",
    ),
    "deletion-held-back": Explanation(
        "An answer would delete most files, which usually means lost permissions",
        "Nothing if it was meant: it is applied when the backend repeats it",
    ),
    "unauthorized": Explanation("The backend rejected the key", "Set the API_KEY that the backend has for this app"),
    "no-token": Explanation(
        "API_KEY is not set, and the Fly machine's own socket gave no token", "Set API_KEY, or run on Fly"
    ),
    "no-such-app": Explanation("The backend does not know APP_ID", "Correct APP_ID, or create the app"),
    "throttled": Explanation("The backend answered 429 or 503", "Nothing: it is tried again by itself"),
    "unreachable": Explanation("The backend did not answer", "Check API_URL and the network; it is tried again"),
    "bad-answer": Explanation(
        "The backend's answer breaks the contract (docs/protocol.md)", "Correct the backend; nothing was applied"
    ),
    "wrong-base": Explanation(
        "The backend sent a delta against another set", "Nothing: the whole set is requested next"
    ),
    "backend": Explanation("The backend failed", "Look at its log; it is tried again"),
    "disk": Explanation("The workspace or STATE_DIR could not be written", "Free space, or correct the permissions"),
}
