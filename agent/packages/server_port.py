"""The dev server's supervisor as an installation needs it. agent/app.py passes the real one in."""

from __future__ import annotations

from typing import Protocol


class DevServerPort(Protocol):
    def hold(self, why: str) -> None:
        """Start no dev server until `release`. A running one goes on."""

    async def vacate(self, why: str) -> None:
        """Like `hold`, and stop the running one. Returns when no process is left, or after some seconds."""

    async def make_room(self, why: str) -> bool:
        """Stop the dev server and remove its caches, because the disk is full; False if they were removed before."""

    def release(self) -> None:
        """End `hold`, and check at once whether the dev server can start."""

    def restart(self, reason: str) -> None: ...
