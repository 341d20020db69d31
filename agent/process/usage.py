"""Measures the processes of a session: their memory, their CPU use, and how many there are.

RSS counts shared pages once per process, so its sum is an upper bound. PSS divides them among the processes and adds up
exactly, but the kernel walks all page tables for it, so it is read rarely.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

from agent.process import find
from agent.process.sample import Sample

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


class Sampler:
    """Samples one session. `sample` blocks for some milliseconds: call it in a thread, one call at a time."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._spent: dict[psutil.Process, float] = {}
        self._wanted: dict[psutil.Process, float] = {}
        self._at: float | None = None
        self._pss: int | None = None

    def sample(self, now: float, *, with_pss: bool) -> Sample:
        rss = pss = 0
        spent: dict[psutil.Process, float] = {}
        wanted: dict[psutil.Process, float] = {}
        for process in find.of_session(self._session):
            with suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                rss += process.memory_info().rss
                spent[process] = times.user + times.system
                wanted[process] = _wanted(process.pid)
                pss += _pss(process.pid) if with_pss else 0
        used = sum(total - self._spent.get(process, 0.0) for process, total in spent.items())
        elapsed = now - self._at if self._at is not None else 0.0
        cpu = used / elapsed if elapsed > 0 else 0.0
        most = max(
            (total - self._wanted[process] for process, total in wanted.items() if process in self._wanted), default=0.0
        )
        demand = min(most / elapsed, 1.0) if elapsed > 0 else 0.0
        self._spent, self._wanted, self._at = spent, wanted, now
        self._pss = (pss or None) if with_pss else self._pss
        return Sample(rss, self._pss, round(max(cpu, 0.0), 3), len(spent), round(max(demand, 0.0), 3))


def _wanted(pid: int) -> float:
    """Seconds in which the process's main thread ran or waited for a CPU; 0 if the kernel does not count them."""
    with suppress(OSError, ValueError):
        ran, waited, *_ = Path(f"/proc/{pid}/schedstat").read_text("ascii").split()
        return (int(ran) + int(waited)) / 1e9
    return 0.0


def _pss(pid: int) -> int:
    with suppress(OSError):
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"))
        return int(found[1]) * 1024 if found else 0
    return 0
