"""Renders the snapshot as Prometheus metrics.

A Scrape is a collector for one scrape only: nothing is counted here and no registry is kept, so no number can disagree
with /status. Counters come from the rooms and start at zero with the process, as Prometheus expects. An unknown fact
(no revision yet, no PSS on this kernel) has no sample, because a zero would be wrong. A state is one gauge per possible
value, which is 1 for the current one.

Imported at the first scrape only (server.py): prometheus_client costs 1 MiB of resident memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from agent.status import DevServerState, InstallState, Phase, Snapshot, Source, SyncState, missing, phase, unhealthy

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def render(scrape: Scrape) -> bytes:
    return generate_latest(scrape)


@dataclass(frozen=True, slots=True)
class Scrape:
    now: Snapshot
    versions: Mapping[str, str]
    """Versions by program, shown as labels."""
    rss_bytes: int
    """Of the agent's own process, as the next two."""
    cpu_seconds: float
    open_fds: int

    def collect(self) -> Iterable[Metric]:
        yield from self._agent()
        yield from self._sync()
        yield from self._dev_server()
        yield from self._install()

    def _agent(self) -> Iterator[Metric]:
        now = self.now
        yield InfoMetricFamily(
            "preview_agent",
            "Versions of the agent and of what it runs on.",
            {"app_id": now.app_id, "machine": now.machine, "agent": now.version, **self.versions},
        )
        started = datetime.fromisoformat(now.started_at).timestamp()
        yield _gauge("agent_start_time_seconds", "When the agent started, in seconds since 1970.", started)
        yield _gauge("agent_resident_memory_bytes", "Resident memory of the agent's own process.", self.rss_bytes)
        yield _counter("agent_cpu_seconds", "User and system CPU time of the agent's own process.", self.cpu_seconds)
        yield _gauge("agent_open_fds", "Open file descriptors of the agent.", self.open_fds)
        yield _state("phase", "What the agent as a whole is doing.", get_args(Phase), phase(now))
        yield _gauge("healthy", "1 while /healthz is 200.", unhealthy(now) is None)
        yield _gauge("ready", "1 while /readyz is 200.", not missing(now))
        count = Counter(problem.source for problem in now.problems)
        problems = GaugeMetricFamily("preview_problems", "Current problems.", labels=("source",))
        for source in get_args(Source):
            problems.add_metric((source,), count[source])
        yield problems

    def _sync(self) -> Iterator[Metric]:
        sync = self.now.sync
        yield _state("sync_state", "What the sync is doing.", get_args(SyncState), sync.state)
        yield _gauge("sync_revision", "Revision on disk, if the backend numbers its sets.", sync.revision)
        yield _gauge("sync_files", "Managed files on disk.", sync.files)
        yield _gauge("sync_bytes", "Bytes of the managed files on disk.", sync.bytes)
        yield _gauge("sync_held", "1 while an answer of the backend is held back.", sync.held is not None)
        tries = sync.failure.tries if sync.failure else 0
        yield _gauge("sync_failure_tries", "Consecutive failed requests, 0 while the backend answers.", tries)
        yield _counter("sync_requests", "Requests to the backend for files.", sync.requests)
        yield _counter("sync_sets_applied", "Sets and deltas applied.", sync.sets_applied)
        yield _counter("sync_received_bytes", "Bytes received from the backend for files.", sync.bytes_received)

    def _dev_server(self) -> Iterator[Metric]:
        server = self.now.dev_server
        yield _state("dev_server_state", "What the dev server is doing.", get_args(DevServerState), server.state)
        yield _gauge("dev_server_compiling", "1 while the dev server compiles.", server.compiling)
        yield _counter("dev_server_restarts", "Starts of the dev server after the first.", server.restarts)
        yield _counter("dev_server_crashes", "Unexpected exits of the dev server.", server.crashes)
        yield _counter("dev_server_repairs", "Automatic repairs of the dev server.", server.repaired)
        yield _gauge(
            "dev_server_memory_limit_bytes", "The smallest memory limit that applies to it.", server.memory_limit_bytes
        )
        yield _gauge("dev_server_memory_used_bytes", "Memory used under that limit.", server.memory_used_bytes)
        yield _gauge("dev_server_oom_kills", "Kills by the kernel's OOM killer under that limit.", server.oom_kills)
        yield _gauge("dev_server_disk_free_bytes", "Free bytes on the filesystem it writes to.", server.disk_free_bytes)
        yield _gauge("dev_server_resident_memory_bytes", "RSS of the dev server's process tree.", server.rss_bytes)
        yield _gauge("dev_server_proportional_memory_bytes", "PSS of the dev server's process tree.", server.pss_bytes)
        yield _gauge("dev_server_cpu_cores", "CPU use of the dev server's process tree, in cores.", server.cpu)
        yield _gauge("dev_server_processes", "Processes in the dev server's process tree.", server.processes)

    def _install(self) -> Iterator[Metric]:
        install = self.now.install
        yield _state(
            "install_state", "Whether the app's packages are installed.", get_args(InstallState), install.state
        )
        yield _counter("install_runs", "Installations started.", install.runs)
        yield _gauge("install_seconds", "Duration of the last installation.", install.seconds)


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(f"preview_{name}", help_text)
    if value is not None:
        family.add_metric((), value)
    return family


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"preview_{name}", help_text, value)


def _state(name: str, help_text: str, states: Iterable[str], current: str) -> Metric:
    label = name.rpartition("_")[2]
    family = GaugeMetricFamily(f"preview_{name}", help_text, labels=(label,))
    for state in states:
        family.add_metric((state,), state == current)
    return family
