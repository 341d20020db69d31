"""Does the edits of a row one after the other on one side, and looks at the open tab after each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from playwright.async_api import Error

from scripts.apptable import edits, patience, programs, tab
from scripts.apptable.judge import NOT_TRIED, StepSeen
from scripts.apptable.rows import Step, problem_matches
from scripts.apptable.sides import Side
from scripts.apptable.tab import NotSeen, Tab

FAILURES = 2
"""After so many the rest of a series is not tried: each failure costs its whole deadline."""
AGAIN_SECONDS = 0.5
VISITS = 20
VISIT_SECONDS = 3.0
"""A page without an answer after so long is being made, and may never come."""
SETTLE_SECONDS = 5.0


async def do(steps: Sequence[Step], side: Side, page: Tab, other: Tab, now: dict[str, str]) -> list[StepSeen]:
    """`other`: a second tab for other addresses. `now`: the app's text files, kept up to date."""
    seen: list[StepSeen] = []
    for step in steps:
        if sum(one.seconds is None for one in seen) >= FAILURES:
            seen.append(StepSeen(step.name, None, NOT_TRIED))
            continue
        await page.settle(SETTLE_SECONDS)
        seen.append(await one(step, side, page, other, now))
    return seen


async def one(step: Step, side: Side, page: Tab, other: Tab, now: dict[str, str]) -> StepSeen:
    began = time.monotonic()
    try:
        changes = edits.apply(step, now)
        if changes:
            await side.put(changes)
            for path, content in changes.items():
                if content is None:
                    now.pop(path, None)
                else:
                    now[path] = content
        if step.visit:
            await _asked_for(other, side.url + step.visit)
        for what, expected in _expectations(step, side, page, other):
            await _within(step.within, began, what, expected)
    except NotSeen as not_seen:
        return StepSeen(step.name, None, f"{not_seen}; {await (other if step.at else page).seen()}")
    except (edits.Unfit, programs.Failed, AssertionError, TimeoutError) as failed:
        return StepSeen(step.name, None, str(failed) or type(failed).__name__)
    return StepSeen(step.name, time.monotonic() - began)


async def _asked_for(other: Tab, url: str) -> None:
    """Ask for a page without waiting for its answer; again while the server does not know the route yet."""
    with suppress(Error):
        for _ in range(VISITS):
            answer = await other.page.goto(url, wait_until="commit", timeout=1000 * patience.seconds(VISIT_SECONDS))
            if answer is None or answer.status != 404:
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def _within(seconds: float, began: float, what: str, expected: Callable[[], Awaitable[bool]]) -> None:
    try:
        await tab.until(expected, max(0.5, seconds - (time.monotonic() - began)))
    except NotSeen as not_seen:
        raise NotSeen(f"expected {what}, {not_seen}") from None


def _expectations(step: Step, side: Side, page: Tab, other: Tab) -> list[tuple[str, Callable[[], Awaitable[bool]]]]:
    made: list[tuple[str, Callable[[], Awaitable[bool]]]] = []
    if step.see and step.at:
        made.append((f"{step.see!r} at {step.at}", lambda: _visited(other, side.url + step.at, step.see, there=True)))
    elif step.see:
        made.append((f"{step.see!r}", lambda: page.sees(step.see)))
    if step.gone:
        made.append(
            (f"no {step.gone!r} at {step.at}", lambda: _visited(other, side.url + step.at, step.gone, there=False))
        )
    if step.style:

        async def styled() -> bool:
            return await page.style() == step.style

        made.append(("the new style", styled))
    if step.error:
        made.append(("an error on the page", page.shows_error))
    if step.error or step.problem:
        made.append((f"a problem in /status {step.problem}".rstrip(), lambda: _told(side, step.problem)))
    return made


async def _told(side: Side, pattern: str) -> bool:
    problems = await side.problems()
    return problems is None or (problem_matches(pattern, problems) if pattern else bool(problems))


async def _visited(other: Tab, url: str, text: str, *, there: bool) -> bool:
    """A fresh navigation: a route that is not there yet has no page that could follow."""
    try:
        await other.page.goto(url, wait_until="load", timeout=10_000)
    except Error:
        return False
    for _ in range(4):
        if (text in await other.text()) is there:
            return True
        await asyncio.sleep(AGAIN_SECONDS / 4)  # a page that is drawn by its script
    await asyncio.sleep(AGAIN_SECONDS)
    return False
