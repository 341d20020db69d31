"""What the dev server's processes cost: memory, CPU, how many.

RSS counts shared pages once per process, so the sum is an upper bound. PSS shares them out and is the honest sum, but
the kernel walks all page tables for it: it is taken only now and then.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

from agent.process import find as census
from agent.process.sample import Sample

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


class Sampler:
    """Samples one session. `take` blocks for some milliseconds: it belongs in a thread, one call at a time."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._spent: dict[psutil.Process, float] = {}
        self._at: float | None = None
        self._pss: int | None = None

    def take(self, now: float, *, with_pss: bool) -> Sample:
        rss = pss = 0
        spent: dict[psutil.Process, float] = {}
        for process in census.of_session(self._session):
            with suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                rss += process.memory_info().rss
                spent[process] = times.user + times.system
                pss += _pss(process.pid) if with_pss else 0
        used = sum(total - self._spent.get(process, 0.0) for process, total in spent.items())
        cpu = used / (now - self._at) if self._at is not None and now > self._at else 0.0
        self._spent, self._at = spent, now
        self._pss = (pss or None) if with_pss else self._pss
        return Sample(rss, self._pss, round(max(cpu, 0.0), 3), len(spent))


def _pss(pid: int) -> int:
    with suppress(OSError):
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"))
        return int(found[1]) * 1024 if found else 0
    return 0
