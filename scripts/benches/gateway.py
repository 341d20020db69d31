"""Measures the gateway's overhead, against direct requests and against nginx as a plain proxy.

Each has one open connection, and blocks of requests alternate, so that a busy moment of the machine affects all of them
equally. Behind all of them is one server that answers from memory (origin.mjs). A row of its own shows the throughput
of large files from `next dev` itself.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benches import app
from scripts.benches.asking import HttpConnection, connect
from scripts.benches.nginx import nginx
from scripts.benches.place import Absent, Bench
from scripts.benches.rows import Budget, Row, left_out, median, quantile
from scripts.benches.running import agent
from tests.peers.stack import backend

ORIGIN = f"node {shlex.quote(str(Path(__file__).with_name('origin.mjs')))} {{port}}"
IMAGE = "/image.bin"
ROUNDS = 30
WARM = 300


@dataclass
class Measured:
    """The results of one path to the server."""

    small: list[float] = field(default_factory=list)
    """Milliseconds of each small answer."""
    large: list[float] = field(default_factory=list)
    """MB/s of each block of large answers."""

    def over(self, direct: Measured, q: float) -> float:
        return quantile(self.small, q) - quantile(direct.small, q)


async def measure(bench: Bench) -> list[Row]:
    folder = bench.folder()
    (folder / "workspace").mkdir()
    absent = ""
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(backend(folder, bench.port()))
        await api.put({"package.json": "{}"})
        running = await opened.enter_async_context(agent(bench, folder / "workspace", api.url, DEV_COMMAND=ORIGIN))
        await running.ready()
        ports = {"direct": running.dev_port, "gateway": running.port}
        try:
            proxy = bench.port()
            await opened.enter_async_context(nginx(bench.folder(), proxy, running.dev_port))
            ports["nginx"] = proxy
        except Absent as why:
            absent = str(why)
        bench.say(f"gateway: {ROUNDS} rounds over {', '.join(ports)}")
        measured = await _measure(bench, ports)
    return [*_rows(measured, absent), await _of_next(bench)]


async def _of_next(bench: Bench) -> Row:
    place = bench.workspace({**app.WHOLE, f"public{IMAGE}": "y" * (1 << 20)})
    async with backend(bench.folder(), bench.port()) as api, agent(bench, place, api.url) as running:
        await api.put(app.WHOLE)
        await running.ready()
        bench.say("gateway: a file that next dev serves")
        ports = {"direct": running.dev_port, "gateway": running.port}
        speeds = await asyncio.to_thread(_speeds, ports, bench.either(30, 10))
    return Row(
        "gateway_throughput_next",
        "gateway, a large file of next dev",
        "MB/s",
        median(speeds["gateway"]),
        f"median of {ROUNDS} blocks, 1 MiB of public/",
        baseline=median(speeds["direct"]),
        against="the port of next dev directly",
        budget=Budget(0.8, on="ratio", at_least=True),
        samples=speeds,
    )


def _speeds(ports: Mapping[str, int], count: int) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in ports}
    with ExitStack() as opened:
        lines = {name: opened.enter_context(connect(port)) for name, port in ports.items()}
        for one in lines.values():
            one.throughput(IMAGE, WARM // 10)
        for number in range(ROUNDS):
            for name in sorted(ports, reverse=bool(number % 2)):
                speeds[name].append(lines[name].throughput(IMAGE, count))
    return speeds


async def _measure(bench: Bench, ports: Mapping[str, int]) -> dict[str, Measured]:
    stop = threading.Event()
    small, large = bench.either(100, 20), bench.either(30, 10)
    try:
        return await asyncio.to_thread(_rounds, ports, small, large, stop)
    finally:
        stop.set()


def _rounds(ports: Mapping[str, int], small: int, large: int, stop: threading.Event) -> dict[str, Measured]:
    measured = {name: Measured() for name in ports}
    with ExitStack() as opened:
        lines: dict[str, HttpConnection] = {name: opened.enter_context(connect(port)) for name, port in ports.items()}
        for one in lines.values():
            one.latencies("/", WARM)
            one.throughput("/large", WARM // 10)
        for number in range(ROUNDS):
            for name in sorted(ports, reverse=bool(number % 2)):
                if stop.is_set():
                    break
                measured[name].small += lines[name].latencies("/", small)
                measured[name].large.append(lines[name].throughput("/large", large))
    return measured


def _rows(measured: Mapping[str, Measured], absent: str) -> list[Row]:
    direct, gateway, nginx_ = measured["direct"], measured["gateway"], measured.get("nginx")
    small, large = f"n={len(gateway.small)}, 2 kB, one open connection", f"median of {ROUNDS} blocks, 1 MiB answers"
    samples = {f"{name}_small": of.small for name, of in measured.items()}
    speeds = {f"{name}_large": of.large for name, of in measured.items()}
    rows = [
        Row(
            "gateway_p50",
            "gateway, small answer, p50",
            "ms",
            median(gateway.small),
            small,
            baseline=median(direct.small),
            against="the dev server's port directly",
            budget=Budget(1, on="excess"),
            samples=samples,
        ),
        Row(
            "gateway_p95",
            "  the same, p95",
            "ms",
            quantile(gateway.small, 0.95),
            small,
            baseline=quantile(direct.small, 0.95),
            against="the dev server's port directly",
        ),
        Row(
            "gateway_throughput",
            "gateway, large answers",
            "MB/s",
            median(gateway.large),
            large,
            baseline=median(direct.large),
            against="the dev server's port directly",
            budget=Budget(0.8, on="ratio", at_least=True),
            samples=speeds,
        ),
    ]
    if nginx_ is None:
        return [*rows, left_out("nginx", "nginx as a plain proxy", "ms", absent)]
    return [
        *rows,
        Row(
            "gateway_over",
            "what the gateway adds, p50",
            "ms",
            gateway.over(direct, 0.5),
            small,
            baseline=nginx_.over(direct, 0.5),
            against="what nginx adds as a plain proxy, in the same rounds",
        ),
        Row(
            "gateway_over_p95",
            "what the gateway adds, p95",
            "ms",
            gateway.over(direct, 0.95),
            small,
            baseline=nginx_.over(direct, 0.95),
            against="what nginx adds as a plain proxy, in the same rounds",
        ),
        Row(
            "gateway_throughput_nginx",
            "gateway, large answers",
            "MB/s",
            median(gateway.large),
            large,
            baseline=median(nginx_.large),
            against="nginx as a plain proxy, in the same rounds",
        ),
    ]
