"""The app's requests that wait for the dev server's answer, for whoever has to find out what it hangs on. Pure.

A browser that leaves does not end what the dev server does for it: its request counts as waiting until the dev server
has answered another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.gateway.policy.activity import Activity
from agent.gateway.policy.routing import Request
from agent.status import Traffic, WaitingRequest

LEFT_MOST: Final = 16


def is_rendered(request: Request, activity: Activity) -> bool:
    """Whether the app's own code answers: a page, its data, an endpoint; no file and nothing of Next's own."""
    return activity in {"navigation", "app_request", "probe"} or "next-router-prefetch" in request.headers


@dataclass(slots=True)
class WaitingRequests:
    """Each request that `began` is ended by one of the three others."""

    _answered_at: float = 0.0
    _open: list[WaitingRequest] = field(default_factory=list)
    _left: tuple[WaitingRequest, ...] = ()

    def traffic(self) -> Traffic:
        return Traffic(self._answered_at, (*self._left, *self._open))

    def began(self, path: str, now: float) -> WaitingRequest:
        request = WaitingRequest(path, now)
        self._open.append(request)
        return request

    def answered(self, request: WaitingRequest, now: float) -> None:
        self.broke_off(request)
        self._answered_at, self._left = now, ()

    def left(self, request: WaitingRequest) -> None:
        """Its browser did."""
        self.broke_off(request)
        self._left = (*self._left, request)[-LEFT_MOST:]

    def broke_off(self, request: WaitingRequest) -> None:
        """The dev server did, most likely because it was ended."""
        if request in self._open:  # equal ones are interchangeable
            self._open.remove(request)
