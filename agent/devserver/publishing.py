"""Publishes the dev server's facts and problems, each only when it changed, and logs each change of state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent.status import DevServerFacts, Problem, Source

log = structlog.get_logger()

Problems = tuple[Problem, ...]


@dataclass
class Publisher:
    publish: Callable[[DevServerFacts], None]
    publish_problems: Callable[[Source, Problems], None]
    _last: tuple[DevServerFacts, Problems, Problems] | None = None

    def update(self, now: DevServerFacts, own: Problems, errors: Problems) -> None:
        """`own`: the problems of the server itself. `errors`: those of what it compiles."""
        last, self._last = self._last, (now, own, errors)
        if last == self._last:
            return
        if last is None or (last[0].state, last[0].reason) != (now.state, now.reason):
            log.info("dev_server.state", state=now.state, reason=now.reason, pid=now.pid, crashes=now.crashes)
        self.publish(now)
        if last is None or last[1] != own:
            self.publish_problems("dev_server", own)
        if last is None or last[2] != errors:
            self.publish_problems("compile", errors)
