"""Measures an idle agent: memory, CPU, and requests to the backend.

It uses a real control plane, a real `next dev` that has served its page, no visitors, and an interpreter that is
configured as in the image. Everything is counted over one window and extrapolated to an hour. The window is a multiple
of the held request's 25 s and of the report's 30 s, so that neither is counted once too often.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import psutil

from scripts.benches import app
from scripts.benches.counter import Counter, counter
from scripts.benches.place import Bench
from scripts.benches.rows import Budget, Row
from scripts.benches.running import agent, image_environment
from tests.peers.stack import Stack, backend

SETTLE_SECONDS = 10
SOCKETS = 20
HOUR = 3600


@dataclass(frozen=True, slots=True)
class IdleCost:
    """The results over a window of `seconds`. Memory is MiB; `private` is memory that no other process shares."""

    seconds: int
    resident: list[float]
    private: float
    cpu: float
    requests: int
    size: int
    with_sockets: float


async def measure(bench: Bench) -> list[Row]:
    place, window = bench.workspace({}), bench.either(150, 30)
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(backend(bench.folder(), bench.port()))
        await api.put(app.WHOLE)
        counted = await opened.enter_async_context(counter(bench.port(), urlsplit(api.url).port or 0))
        through = f"http://127.0.0.1:{counted.port}"
        running = await opened.enter_async_context(agent(bench, place, through, **await image_environment()))
        await running.ready()
        async with running.session.get(running.url) as answer:
            await answer.read()
        await asyncio.sleep(SETTLE_SECONDS)
        bench.say(f"idle: counting for {window} s")
        return _rows(await _watch(running, counted, window))


async def _watch(running: Stack, counted: Counter, window: int) -> IdleCost:
    process = psutil.Process(running.agent.child.pid)
    counted.reset()
    before, resident = process.cpu_times(), []
    for _ in range(window):
        await asyncio.sleep(1)
        resident.append(process.memory_info().rss / 2**20)
    after = process.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / window
    requests, size = counted.requests, counted.bytes
    private = process.memory_full_info().uss / 2**20
    return IdleCost(window, resident, private, cpu, requests, size, await _with_sockets(running, process))


async def _with_sockets(running: Stack, process: psutil.Process) -> float:
    """Return the RSS with many open pages, each with a hot reload socket through the gateway."""
    async with AsyncExitStack() as opened:
        for number in range(SOCKETS):
            address = f"{running.url}/_next/hmr?id=page{number}"
            socket: aiohttp.ClientWebSocketResponse = await opened.enter_async_context(
                running.session.ws_connect(address, timeout=aiohttp.ClientWSTimeout(ws_close=2))
            )
            async with asyncio.timeout(20):
                await socket.receive()
        await asyncio.sleep(2)
        return process.memory_info().rss / 2**20


def _rows(idle: IdleCost) -> list[Row]:
    how = f"over {idle.seconds} s, next dev ready, no page open"
    hour = HOUR / idle.seconds
    return [
        Row(
            "idle_rss",
            "idle agent, RSS",
            "MiB",
            max(idle.resident),
            f"maximum of {len(idle.resident)} samples {how}; {idle.private:.1f} MiB are private to it",
            budget=Budget(40),
            samples={"rss": idle.resident},
        ),
        Row(
            "idle_cpu",
            "idle agent, processor",
            "% of a core",
            idle.cpu * 100,
            f"user and system time {how}",
            budget=Budget(0.3),
        ),
        Row(
            "idle_requests",
            "idle agent, requests to the backend",
            "per hour",
            idle.requests * hour,
            f"{idle.requests} counted {how}, by a forwarder between the two",
            budget=Budget(150),
        ),
        Row(
            "idle_bytes",
            "idle agent, to and from the backend",
            "kB per hour",
            idle.size * hour / 1000,
            f"{idle.size} bytes counted {how}, headers and bodies, both directions",
            budget=Budget(100),
        ),
        Row(
            "sockets_rss",
            f"  the same with {SOCKETS} HMR sockets open, RSS",
            "MiB",
            idle.with_sockets,
            "two seconds after they were opened through the gateway",
        ),
    ]
