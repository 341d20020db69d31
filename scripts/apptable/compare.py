"""What is in a workspace that the app did not bring, and which packages are others than bare. Pure.

Names of files only: what a tool makes by itself beside a bare app is its own business, and is excused by the bare
app's folder, which is looked at after it has run as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

CACHES: Final = frozenset(
    {".git", ".next", "node_modules", ".turbo", ".astro", ".vite", ".svelte-kit", ".yarn", ".cache", ".swc", ".bun"}
)
"""Folders that tools fill while they run, at any depth."""
MADE_BY_TOOLS: Final = frozenset(
    {"next-env.d.ts", "tsconfig.tsbuildinfo", ".pnp.cjs", ".pnp.loader.mjs", ".yarn-integrity"}
)
SHOWN: Final = 8


def is_cache(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not CACHES.isdisjoint(parts) or parts[-1] in MADE_BY_TOOLS


def left_over(workspace: Iterable[str], app: Iterable[str], bare: Iterable[str]) -> list[str]:
    """Files of the workspace that neither the app nor its bare run has, sorted."""
    known = set(app) | set(bare)
    return sorted(path for path in workspace if path not in known and not is_cache(path))


def missing(workspace: Iterable[str], app: Iterable[str]) -> list[str]:
    """Files of the app that the workspace lacks, sorted."""
    there = set(workspace)
    return sorted(path for path in app if path not in there and not is_cache(path))


def other_versions(ours: Mapping[str, str], bare: Mapping[str, str], excused: Iterable[str] = ()) -> list[str]:
    """Installed packages that differ, one text each: "react 19.3.1, bare 18.3.1"."""
    names = sorted((ours.keys() | bare.keys()) - set(excused))
    return [
        f"{name} {ours.get(name, 'absent')}, bare {bare.get(name, 'absent')}"
        for name in names
        if ours.get(name) != bare.get(name)
    ]


def shortened(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
