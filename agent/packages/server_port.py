"""The dev server's supervisor, as far as packages go: the port that agent/app.py fills."""

from __future__ import annotations

from typing import Protocol


class Server(Protocol):
    """The dev server's supervisor, as far as packages go."""

    def hold(self, why: str) -> None:
        """Start nothing; what runs goes on."""

    async def vacate(self, why: str) -> None:
        """The same, and end what runs. Returns when nothing runs any more, or after some seconds."""

    async def make_room(self, why: str) -> bool:
        """End what runs and remove the caches, since the disk is full; False: they are gone already."""

    def release(self) -> None:
        """Go on, and look at once whether everything is there."""

    def restart(self, reason: str) -> None: ...
