"""The app's requests that wait for the dev server's response, from which devserver/hung_route.py finds a hung route.
Pure.

When a browser disconnects, the dev server goes on rendering. So an abandoned request counts as waiting until the dev
server has answered another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.gateway.policy.activity import Activity
from agent.gateway.policy.request import Request
from agent.status import Traffic, WaitingRequest

ABANDONED_MOST: Final = 16


def is_app_code(request: Request, activity: Activity) -> bool:
    """Whether the app's own code answers: a page, its data or an endpoint; not a file, and nothing of Next's own."""
    return activity in {"navigation", "app_request", "probe"} or "next-router-prefetch" in request.headers


@dataclass(slots=True)
class WaitingRequests:
    """Each request that `add` returned is removed by one of `answered`, `abandoned` and `removed`."""

    _answered_at: float = 0.0
    _open: list[WaitingRequest] = field(default_factory=list)
    _abandoned: tuple[WaitingRequest, ...] = ()

    def traffic(self) -> Traffic:
        return Traffic(self._answered_at, (*self._abandoned, *self._open))

    def add(self, path: str, now: float) -> WaitingRequest:
        request = WaitingRequest(path, now)
        self._open.append(request)
        return request

    def answered(self, request: WaitingRequest, now: float) -> None:
        self.removed(request)
        self._answered_at, self._abandoned = now, ()

    def abandoned(self, request: WaitingRequest) -> None:
        """The browser disconnected before the response."""
        self.removed(request)
        self._abandoned = (*self._abandoned, request)[-ABANDONED_MOST:]

    def removed(self, request: WaitingRequest) -> None:
        """The dev server closed the connection, most likely because its process ended."""
        if request in self._open:  # equal requests are interchangeable
            self._open.remove(request)
