"""The paths under which an app's pages and scripts are served, found in its own first page. Pure.

An app may be served under a base path: Next's `basePath`, Vite's and Astro's `base`. Its scripts and its hot-reload
socket may have a different prefix (`assetPrefix`). The first page's HTML decides. The configuration may compute its
values, so it only supplies candidates, each of which has to answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CANDIDATES: Final = 4

_SCRIPT: Final = re.compile(
    r"[\"'](?:(?:https?:)?//[^/\"'\s<>]{1,255})?(?P<prefix>/[^\"'\s?#<>\\]{0,300}?)?/(?:_next/static/|@vite/client)"
)
_PATH: Final = re.compile(r"(?:/[\w.~%@+-]{1,100}){1,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    start: str = "/"
    """The path of the app's first page."""
    prefix: str = ""
    """The prefix of the paths of its scripts and sockets."""


def prefix_of(html: str) -> str | None:
    """The prefix of the script paths in a page; None if it has no script of a known framework."""
    found = _SCRIPT.search(html)
    if found is None:
        return None
    prefix = found["prefix"] or ""
    return prefix if not prefix or _PATH.fullmatch(prefix) else None


def configured(texts: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The base paths that a configuration's `texts` set under one of the setting's `names`. A value that is computed or
    commented out is left out.
    """
    words = "|".join(map(re.escape, names))
    if not words:
        return ()
    setting = re.compile(rf"\b(?:{words})\s*:\s*[\"'`](/[^\"'`\s]{{1,300}})[\"'`]")
    found = []
    for text in texts:
        for line in text.splitlines():
            match = setting.search(line)
            if match is not None and "//" not in line[: match.start()] and not line.lstrip().startswith("*"):
                found.append(match[1])
    return tuple(dict.fromkeys(path for path in found if _PATH.fullmatch(path.rstrip("/"))))[:CANDIDATES]
