"""Measures the reference backend with many held requests: its memory, and the latency of a change to its machine.

Each simulated machine has one app, one connection and one held request, which it repeats after each answer, as an agent
does. The machines start one after the other, so that their requests do not all time out together. Changes are sent at a
constant rate, each to the next app, so that a slow answer does not delay the others. The time is from sending the PUT
to the last byte of the machine's answer. It includes the commit to disk, and the work of this process, which simulates
all machines on the same cores.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson
import psutil

from agent.config import Secret
from control.auth.keys import digest
from control.storage.store import Store
from scripts.benches.place import Bench
from scripts.benches.rows import Budget, Row, median, quantile
from tests.peers.stack import backend

HOLD_SECONDS = 25
CHANGES_PER_SECOND = 100
DEADLINE = 60.0
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
ETAG = re.compile(rb"\r\netag: *([^\r]+)\r\n", re.IGNORECASE)
WORD = re.compile(rb'"content": *"([0-9.]+)"')


@dataclass
class Machine:
    app: str
    host: str
    holds: asyncio.Event
    """Set once its first held request was sent."""
    sent: dict[bytes, float] = field(default_factory=dict)
    """When each change that has not arrived yet was sent, by its content."""

    async def run(self, port: int, took: list[float], after: float) -> None:
        """Run from `after` seconds on until cancelled. Each change that arrives adds its milliseconds to `took`."""
        await asyncio.sleep(after)
        reader, writer = await asyncio.open_connection(self.host, port)
        try:
            etag = b""
            while True:
                writer.write(self._request(etag))
                if etag:
                    self.holds.set()
                head, body = await _answer(reader)
                now = time.perf_counter()
                found = ETAG.search(head)
                etag = found[1] if found else etag
                took += [(now - at) * 1000 for word in WORD.findall(body) if (at := self.sent.pop(word, None))]
        finally:
            writer.close()

    def _request(self, etag: bytes) -> bytes:
        held = b"If-None-Match: %b\r\nPrefer: wait=%d\r\n" % (etag, HOLD_SECONDS) if etag else b""
        path = f"/api/vendor/apps/{self.app}/files"
        head = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {_key(self.app)}\r\n"
        return head.encode() + held + b"\r\n"


async def measure(bench: Bench) -> list[Row]:
    count, changes, spread = bench.either(5000, 200), bench.either(3000, 300), bench.either(HOLD_SECONDS, 2)
    folder = bench.folder()
    bench.say(f"control: making {count} apps")
    apps = [f"app-{number}" for number in range(count)]
    await asyncio.to_thread(_make, folder / "control.db", apps)
    async with backend(folder, bench.port()) as api:
        address = urlsplit(api.url)
        host, port = address.hostname or "", address.port or 0
        process = psutil.Process(api.process.child.pid)
        machines = [Machine(app, host, asyncio.Event()) for app in apps]
        took: list[float] = []
        async with asyncio.TaskGroup() as group:
            starts = [spread * number / count for number in range(count)]
            waiting = [
                group.create_task(one.run(port, took, after)) for one, after in zip(machines, starts, strict=True)
            ]
            async with asyncio.timeout(DEADLINE):
                for machine in machines:
                    await machine.holds.wait()
            bench.say(f"control: {count} requests are held; {changes} changes follow, {CHANGES_PER_SECOND} per second")
            held = process.memory_info().rss / 2**20
            await _change(api.url, machines, changes)
            async with asyncio.timeout(DEADLINE):
                while len(took) < changes:  # noqa: ASYNC110 - waits for the last answers
                    await asyncio.sleep(0.05)
            peak = process.memory_info().rss / 2**20
            for task in waiting:
                task.cancel()
    return _rows(count, held, peak, took)


def _rows(count: int, held: float, peak: float, took: list[float]) -> list[Row]:
    how = f"n={len(took)}, PUT sent -> whole answer read, {CHANGES_PER_SECOND}/s over {count} apps"
    return [
        Row(
            "control_held",
            f"control plane, {count} held requests",
            "MiB",
            held,
            f"resident memory of its process; {peak:.0f} MiB after the changes",
            budget=Budget(250),
        ),
        Row("control_change", "control plane, change -> machine, p50", "ms", median(took), how),
        Row(
            "control_change_p99",
            "  the same, p99",
            "ms",
            quantile(took, 0.99),
            how,
            budget=Budget(50),
            samples={"took": took},
        ),
    ]


async def _change(url: str, machines: list[Machine], changes: int) -> None:
    """Send the changes at a constant rate. Raise if one is not accepted."""
    began = time.perf_counter()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(changes):
            await asyncio.sleep(max(0.0, began + number / CHANGES_PER_SECOND - time.perf_counter()))
            group.create_task(_put(session, url, machines[number % len(machines)]))


async def _put(session: aiohttp.ClientSession, url: str, machine: Machine) -> None:
    word = f"{time.perf_counter():.9f}"
    machine.sent[word.encode()] = time.perf_counter()
    body = orjson.dumps({"files": [{"filepath": "app/page.tsx", "content": word}]})
    headers = {"Authorization": f"Bearer {_key(machine.app)}", "Content-Type": "application/json"}
    path = f"{url}/api/vendor/apps/{machine.app}/files"
    async with asyncio.timeout(DEADLINE), session.put(path, data=body, headers=headers) as answer:
        reply = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the backend did not accept a change ({answer.status}): {reply[:200]!r}")


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 304 "):
            return head, b""
        length = LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"the backend answered {head[:200]!r}")
        return head, await reader.readexactly(int(length[1]))


def _make(database: Path, apps: list[str]) -> None:
    with closing(Store(database)) as store:
        for app in apps:
            store.add_app(app)
            store.add_key(app, digest(Secret(_key(app))))


def _key(app: str) -> str:
    return f"key-of-{app}"
