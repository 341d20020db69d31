"""The packages that Next.js installs at its start if a TypeScript app does not list them. Pure.

Next would install them unpinned, with its own choice of package manager, and write them into package.json. The agent
adds them to each installation instead, so that Next finds nothing missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agent.packages import semver

TYPESCRIPT: Final = "5.9.3"
NODE_TYPES: Final = "22.19.1"
REACT_TYPES: Final[Mapping[int, str]] = {17: "17.0.93", 18: "18.3.8", 19: "19.2.7"}
"""Major version of react → version of @types/react. The newest one is also used for tags such as `latest`."""


def missing_packages(specs: Mapping[str, str], managed: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Package and version of what a TypeScript app on Next.js needs besides `specs`; empty for other apps.

    `managed`: the app's own files.
    """
    if "next" not in specs or not any(_is_typescript(path) for path in managed):
        return ()
    newest = REACT_TYPES[max(REACT_TYPES)]
    wanted = {
        "typescript": TYPESCRIPT,
        "@types/node": NODE_TYPES,
        "@types/react": REACT_TYPES.get(semver.major(specs.get("react", "")) or 0, newest),
    }
    return tuple((name, version) for name, version in wanted.items() if name not in specs)


def _is_typescript(path: str) -> bool:
    return path == "tsconfig.json" or (path.endswith((".ts", ".tsx")) and not path.endswith(".d.ts"))
