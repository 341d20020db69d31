"""Makes the absolute paths in the text of other programs relative to the app's folder. Pure.

Node, Next and the package managers print absolute paths of this machine, which mean nothing to the app's author. The
result of `relative_to` is applied to problems, reasons and quoted lines. The log keeps the text as it was printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

F = TypeVar("F")

HERE = "the app's folder"
"""Replaces the path of the folder itself."""

_BEFORE = r"(?<![\w.~%-])"  # not the end of `/srv/workspace` or `https://host/workspace`
_AFTER = r"(?:/(?P<inside>\.?[^\s/'\"`)\]}:,;]?)|(?![\w.~%/-]))"


def relative_to(roots: Iterable[str]) -> Callable[[str], str]:
    """A function that removes `roots` from a text: `{root}/app/page.tsx` becomes `app/page.tsx`.

    `roots`: absolute paths of the app's folder, as configured and with links resolved; the longest match counts.
    """
    spelled = {
        spelling for root in roots if root.strip("/") for spelling in (root.rstrip("/"), quote(root.rstrip("/")))
    }
    if not spelled:
        return lambda text: text
    longest_first = sorted(spelled, key=lambda root: (-len(root), root))
    pattern = re.compile(f"{_BEFORE}(?:file://)?(?:{'|'.join(map(re.escape, longest_first))}){_AFTER}")

    def shorten(text: str) -> str:
        return pattern.sub(lambda found: found["inside"] or HERE, text)

    return shorten


def in_every_text(facts: F, shorten: Callable[[str], str]) -> F:
    """`facts` with `shorten` applied to every text in it."""
    done: Any = facts
    if isinstance(facts, str):
        done = shorten(facts)
    elif isinstance(facts, tuple):
        done = tuple(in_every_text(part, shorten) for part in facts)
    elif is_dataclass(facts) and not isinstance(facts, type):
        done = replace(
            facts, **{part.name: in_every_text(getattr(facts, part.name), shorten) for part in fields(facts)}
        )
    return done  # type: ignore[no-any-return]  # it is of the type of `facts`, part for part
