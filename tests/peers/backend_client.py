"""The sync room as the agent builds it, against a backend of these peers, with everything that it says kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.backend import session
from agent.clock import Clock, rfc3339
from agent.config import Secret
from agent.install_hooks import InstallHooks, Packages
from agent.status import Applied, Problem, SyncFacts
from agent.sync.disk.journal import Manifest
from agent.sync.disk.staging import Owner
from agent.sync.disk.store import Disk
from agent.sync.loop import Sync, Timing
from agent.sync.protocol.client import Backend
from tests.peers.backend_honest import KEY, HonestBackend

PATIENCE = 20.0
QUICK = Timing(poll_interval=0.02, long_poll_wait=20)
EAGER = Clock(chance=lambda: 0.02)
"""Back-offs of 10 ms and more: a failure's next try comes soon, and every one of them is a real pause."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one agent lives."""

    home: Path
    owner: Owner | None = None

    @property
    def workspace(self) -> Path:
        return self.home / "workspace"

    @property
    def state(self) -> Path:
        return self.home / "state"

    def disk(self, api_url: str = "test") -> Disk:
        clock = Clock()
        return Disk(
            workspace=self.workspace,
            state_dir=self.state,
            app="demo",
            api=api_url,
            stamp=lambda: rfc3339(clock.wall()).replace(":", ""),
            owner=self.owner,
        )

    def files(self) -> dict[str, bytes]:
        return read_all(self.workspace)

    def recorded(self) -> Manifest:
        """The manifest as the next start would read it; the place's own is left as it is."""
        copy = self.home / "manifest-copy.jsonl"
        copy.write_bytes((self.state / "manifest.jsonl").read_bytes())
        manifest = Manifest(copy, app="demo", api="test")
        manifest.open()
        return manifest


def read_all(folder: Path) -> dict[str, bytes]:
    """Every regular file below `folder`, links not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


class NoPackages:
    """Nothing is ever installed."""

    def concerns(self, path: str) -> bool:
        return False

    async def settle(self, managed: AbstractSet[str]) -> None:
        return

    @asynccontextmanager
    async def install_hooks(
        self, changed: Mapping[str, bytes | None], managed: AbstractSet[str]
    ) -> AsyncIterator[InstallHooks]:
        yield InstallHooks()


class Client:
    """A running Sync. `until` waits for a fact; `applied` is every set it told of."""

    def __init__(
        self, place: Place, backend: HonestBackend, *, timing: Timing, clock: Clock, packages: Packages | None = None
    ) -> None:
        self.place = place
        self.facts = SyncFacts()
        self.history: list[SyncFacts] = []
        self.problems: tuple[Problem, ...] = ()
        self.applied: list[Applied] = []
        self.full: list[str] = []
        self._told = asyncio.Event()
        self._backend = backend
        self._timing = timing
        self._clock = clock
        self.session = session.open_session(session.fixed(Secret(KEY)))
        self.sync = Sync(
            backend=Backend(
                self.session, address=lambda tail: session.app_path(backend.url, "demo", tail), clock=self._clock
            ),
            disk=place.disk(),
            timing=timing,
            clock=clock,
            publish=self._publish,
            problems=self._set_problems,
            on_applied=self._on_applied,
            packages=packages or NoPackages(),
            on_full=self.full.append,
        )

    async def until(self, fact: Callable[[Client], object], patience: float = PATIENCE) -> None:
        """Wait until `fact` is true of this client."""
        async with asyncio.timeout(patience):
            while not fact(self):
                await self._told.wait()

    async def until_on_disk(self) -> None:
        """Wait until a set was applied after which the disk holds what the backend has."""
        await self.until(lambda client: client.applied and client.place.files() == client._backend.files)

    async def failed(self, times: int = 1) -> None:
        """Wait until so many failures were published in all."""
        await self.until(lambda client: len(client.failures()) >= times)

    def failures(self) -> list[str]:
        """The code of each failure that was published, in order."""
        codes = []
        last = None
        for facts in self.history:
            if facts.failure is not None and facts.failure != last:
                codes.append(facts.failure.code)
            last = facts.failure
        return codes

    def messages(self) -> Iterable[str]:
        return [problem.message for problem in self.problems]

    def _publish(self, facts: SyncFacts) -> None:
        self.facts = facts
        self.history.append(facts)
        self._wake()

    def _set_problems(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        self._wake()

    def _on_applied(self, applied: Applied) -> None:
        self.applied.append(applied)
        self._wake()

    def _wake(self) -> None:
        self._told.set()
        self._told = asyncio.Event()


@asynccontextmanager
async def syncing(
    place: Place,
    backend: HonestBackend,
    *,
    timing: Timing = QUICK,
    clock: Clock = EAGER,
    packages: Packages | None = None,
) -> AsyncIterator[Client]:
    """Open, run, and in the end cancel and close, as the agent does."""
    client = Client(place, backend, timing=timing, clock=clock, packages=packages)
    async with client.session:
        await client.sync.open()
        running = asyncio.create_task(client.sync.run())
        try:
            yield client
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await client.sync.close()
