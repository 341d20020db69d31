"""One row from its start to its outcome: bare, then through the agent, then bare again for the edits that failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from playwright.async_api import Browser

from scripts.apptable import edits, folders, programs, series, sides, tab
from scripts.apptable.judge import Judged, SideSeen, judge, judge_bare
from scripts.apptable.making import App
from scripts.apptable.rows import Step
from scripts.apptable.sides import Ours, Side
from scripts.apptable.tab import NotSeen, Tab

BARE_SECONDS = 120.0
"""After its packages are installed."""
SETTLE_SECONDS = 1.0
LIVE_SECONDS = 10.0
SLOWER = 3.0
"""How many times the bare seconds the first page may take here before it counts as not seen."""
LEAST_SECONDS = 60.0
PROBLEM_SECONDS = 60.0
WARNING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Story:
    made: App
    place: Path
    """A folder of this row's own."""
    ports: sides.Ports
    browser: Browser

    async def tell(self, *, with_bare: bool) -> Judged:
        """Raises edits.Unfit where the row does not fit its app."""
        row = self.made.row
        now = folders.texts(self.made.files)
        steps = edits.steps(row, now)
        bare = await self._bare(()) if with_bare and row.bare else None
        ours = await self._ours(steps, now, bare)
        failed = {step.name for step in ours.steps if step.seconds is None and step.why}
        if bare and not bare.why and any(step.bare for step in steps if step.name in failed):
            again = await self._bare(steps)
            bare.steps = again.steps
        app = [path for path in self.made.files if path not in _deleted(steps)] + _added(steps)
        return judge(row, ours, bare, app)

    async def tell_bare(self) -> Judged:
        """The app alone, with all edits that can be made to it bare: whether the row itself is right."""
        row = self.made.row
        every = edits.steps(row, folders.texts(self.made.files))
        seen = await self._bare([step for step in every if step.bare])
        return judge_bare(row, seen)

    async def _bare(self, steps: Sequence[Step]) -> SideSeen:
        """With steps: started again in the same folder, which need not be installed any more."""
        seen = SideSeen()
        row = self.made.row
        place = self.place / "bare"
        place.mkdir(exist_ok=True)
        try:
            async with sides.bare(self.made, place, self.ports) as side, self._tabs(steps) as (page, other):
                seen.install = side.installed
                await self._first_page(seen, side, page, side.began, BARE_SECONDS)
                if steps and not seen.why:
                    seen.steps = await series.do(steps, side, page, other, folders.texts(self.made.files))
                if seen.why:
                    seen.evidence = await side.evidence()
        except programs.Failed as failed:
            seen.why = str(failed)
        seen.files = list(folders.paths(place / "app"))
        seen.versions = folders.installed(place / "app" / row.directory)
        return seen

    async def _ours(self, steps: Sequence[Step], now: dict[str, str], bare: SideSeen | None) -> SideSeen:
        seen = SideSeen()
        place = self.place / "ours"
        place.mkdir()
        patience = max(LEAST_SECONDS, SLOWER * (bare.first or 0) if bare else 0)
        async with sides.ours(self.made, place, self.ports) as side, self._tabs(steps) as (page, other):
            await self._start(seen, side, page, patience)
            if not seen.why:
                seen.steps = await series.do(steps, side, page, other, now)
            if seen.why or any(step.seconds is None for step in seen.steps):
                seen.evidence = f"{await page.seen()}\n{await side.evidence()}"
            seen.files = list(folders.paths(side.folder))
            seen.versions = folders.installed(side.folder / self.made.row.directory)
        return seen

    async def _start(self, seen: SideSeen, side: Ours, page: Tab, patience: float) -> None:
        """The first page, or the reason why there must be none."""
        row = self.made.row
        began = side.began
        if not row.runs or row.mend:
            try:
                await page.open(side.url + row.open, patience)
                await tab.until(lambda: side.has_problem(row.problem), PROBLEM_SECONDS)
            except NotSeen as not_seen:
                seen.why = f"expected a problem like {row.problem!r}, {not_seen}; {await page.seen()}"
                return
            if not row.mend:
                return
            began = time.monotonic()
            await side.put({path: self.made.files.get(path) for path in row.first})
        await self._first_page(seen, side, page, began, patience)
        if row.problem and not row.mend and not seen.why:
            try:
                await tab.until(lambda: side.has_problem(row.problem), WARNING_SECONDS)
            except NotSeen as not_seen:
                seen.why = f"expected a problem like {row.problem!r}, {not_seen}"

    async def _first_page(self, seen: SideSeen, side: Side, page: Tab, began: float, within: float) -> None:
        row = self.made.row
        end = time.monotonic() + within
        try:
            if not page.is_open:
                await page.open(side.url + row.open, within)
            await tab.until(lambda: page.sees(row.see), max(1, end - time.monotonic()), side.given_up)
        except NotSeen as not_seen:
            seen.why = f"expected {row.see!r}, {not_seen}; {await page.seen()}"
            return
        seen.first = time.monotonic() - began
        if row.router != "none":
            with suppress(NotSeen):  # an app whose page follows by other means is judged by its edits
                await tab.until(page.is_live, LIVE_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)  # what hydration logs has no event of its own
        seen.console = list(page.console)
        if not await page.sees(row.see):
            seen.why = f"the first page did not stay; {await page.seen()}"

    @asynccontextmanager
    async def _tabs(self, steps: Sequence[Step]) -> AsyncIterator[tuple[Tab, Tab]]:
        """The app's tab, and one for other addresses where a step asks for one; otherwise both are the same."""
        async with tab.tab(self.browser) as page:
            if not any(step.at or step.visit for step in steps):
                yield page, page
                return
            async with tab.tab(self.browser) as other:
                yield page, other


def _deleted(steps: Sequence[Step]) -> set[str]:
    """Paths that the series leaves deleted."""
    last = {path: content for step in steps for path, content in step.files.items()}
    return {path for path, content in last.items() if content is None}


def _added(steps: Sequence[Step]) -> list[str]:
    last = {str(PurePosixPath(path)): content for step in steps for path, content in step.files.items()}
    return [path for path, content in last.items() if content is not None]
