"""The packages that Next.js installs by itself at its start when a TypeScript app does not list them. Pure.

Next would add them unpinned, with its own choice of package manager, and would write them into package.json. The agent
adds them to each of its installations instead, so that nothing is missing when Next looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agent.packages import semver

TYPESCRIPT: Final = "5.9.3"
NODE_TYPES: Final = "22.19.1"
REACT_TYPES: Final[Mapping[int, str]] = {17: "17.0.93", 18: "18.3.8", 19: "19.2.7"}
"""Major of react → @types/react. The newest is also taken for tags such as `latest`."""


def missing(specs: Mapping[str, str], managed: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Package and version of what a TypeScript app on Next.js needs besides `specs`. `managed`: the app's own files."""
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
