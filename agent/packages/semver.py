"""Checks versions against ranges in npm's syntax, as far as `engines` and `packageManager` use it. Pure.

Only the three numbers are compared; a pre-release counts as its release. The question here is whether a program of this
version can be expected to work, not which version to install.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Version = tuple[int, int, int]

_VERSION = re.compile(r"[v=\s]*(\d+)(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][\w.+-]*)?")
_COMPARATOR = re.compile(r"(>=|<=|>|<|=|\^|~>|~)?\s*([vV]?(?:\d|[xX*])[\w.*+-]*)")
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
_NUMBER_CHARACTERS = 9


def version(text: str) -> Version | None:
    """The three numbers of an exact version; None if `text` is not one."""
    numbers = _numbers(text)
    return None if numbers is None or None in numbers else _lowest(numbers)


def major(spec: str) -> int | None:
    """The first number in a version or a range: 9 for `9.15.9`, `^9`, `>=9 <10`."""
    found = re.search(r"\d+", spec)
    return int(found[0][:_NUMBER_CHARACTERS]) if found else None


def satisfies(has: Version, wanted: str) -> bool | None:
    """Whether `has` is in the range `wanted`; None if the range cannot be parsed."""
    results = [_all(has, part.strip()) for part in wanted.split("||")]
    if any(results):
        return True
    return None if None in results else False


def _all(has: Version, part: str) -> bool | None:
    if part in {"", "*", "x", "X", "latest"}:
        return True
    if found := _HYPHEN.fullmatch(part):
        part = f">={found[1]} <={found[2]}"
    if _COMPARATOR.sub("", part).strip(" ,"):
        return None
    holds = True
    for operator, text in _COMPARATOR.findall(part):
        numbers = _numbers(text)
        if numbers is None:
            if text[0] in "xX*":
                continue
            return None
        holds = holds and all(_compare(has, numbers, operator or "="))
    return holds


def _compare(has: Version, numbers: tuple[int | None, ...], operator: str) -> Iterator[bool]:
    low, after = _lowest(numbers), _next(numbers)
    match operator:
        case ">=":
            yield has >= low
        case ">":
            yield has >= after if None in numbers else has > low
        case "<":
            yield has < low
        case "<=":
            yield has < after
        case "^":
            yield low <= has < _next_breaking(numbers)
        case "~" | "~>":
            yield low <= has < _next(numbers[:2])
        case _:
            yield low <= has < after


def _numbers(text: str) -> tuple[int | None, ...] | None:
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    parts = [part if part and part.isdigit() else None for part in found.groups()]
    return tuple(None if part is None else int(part[:_NUMBER_CHARACTERS]) for part in parts)


def _lowest(numbers: tuple[int | None, ...]) -> Version:
    first, second, third = (*(number or 0 for number in numbers), 0, 0)[:3]
    return first, second, third


def _next(numbers: tuple[int | None, ...]) -> Version:
    """The first version above all versions that begin with `numbers`: 1.3.0 for 1.2."""
    given = [number for number in numbers if number is not None]
    given[-1] += 1
    return _lowest(tuple(given))


def _next_breaking(numbers: tuple[int | None, ...]) -> Version:
    for at, number in enumerate(numbers):
        if number or number is None or at == len(numbers) - 1:
            return _next(numbers[: at + 1] if number is not None else numbers[:at])
    return _next(numbers)
