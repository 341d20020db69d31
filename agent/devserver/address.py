"""Where below the port an app's pages and scripts are, as its own first page tells. Pure.

An app may lie under a path of its own: Next's `basePath`, Vite's and Astro's `base`. Its scripts and its hot reload's
socket may lie under another one still (`assetPrefix`). Read is what the server sends; the configuration, which may
compute its values, only supplies candidates, each of which has to answer.
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
    """`start`: the path of the app's first page. `prefix`: what stands before the paths of scripts and sockets."""

    start: str = "/"
    prefix: str = ""


def prefix_of(html: str) -> str | None:
    """What stands before the scripts' paths in a page; None where it has no script of a known framework."""
    found = _SCRIPT.search(html)
    if found is None:
        return None
    prefix = found["prefix"] or ""
    return prefix if not prefix or _PATH.fullmatch(prefix) else None


def configured(texts: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The paths that a configuration names as the app's own. `texts`: its files; `names`: the setting's names. A value
    that is computed, or commented out, is not among them.
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
