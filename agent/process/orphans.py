"""Ends the processes that an earlier run of the agent left behind, and no others.

An agent that was killed leaves its dev server running, on the same port and with the same cache. Every run has a random
id. It is written to a record in STATE_DIR before the process exists, and is in the environment of every process of the
run. A process is ended only if it carries that id, or is the recorded leader (same pid and start time), or is in the
session of that leader while it runs. With a DEV_USER, that user's process on DEV_PORT is ended too: it can only be app
code that removed its mark. Any other holder of the port is named in an error, and left alone.

Relies on the lock of STATE_DIR: two agents with one STATE_DIR would take each other's server for an orphan.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import psutil
import structlog

from agent.errors import DiskError, Occupied
from agent.port_holder import port_holder
from agent.process import find

log = structlog.get_logger()

RECORD = "dev-server.json"
INSTALLER = "installer.json"
TRY_SECONDS = 0.02
KILL_TRIES = 100
PORT_TRIES = 25
"""The port of a killed process is free at once; this waits for processes that are exiting by themselves."""
START_TIME_TOLERANCE = 1.0
"""Seconds: the start time of a process shifts when the system's clock is set."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. The pid and the start time are added once the process exists."""

    run: str
    pid: int | None = None
    """Also the id of the session."""
    create_time: float | None = None


def write_record(state_dir: Path, record: RunRecord, name: str = RECORD) -> None:
    """Replace the record atomically. Raises DiskError. Without fsync, because a power cut also ends the process."""
    path = state_dir / name
    staged = path.with_suffix(".new")
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(orjson.dumps(asdict(record)))
        staged.replace(path)
    except OSError as error:
        raise DiskError(f"{path} could not be written: {error.strerror}") from None


def read_record(state_dir: Path, name: str = RECORD) -> RunRecord | None:
    """The last record; None if there is none, or if it cannot be read."""
    try:
        parsed = orjson.loads((state_dir / name).read_bytes())
        return RunRecord(str(parsed["run"]), parsed.get("pid"), parsed.get("create_time"))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        log.warning("dev_server.record_unreadable", path=str(state_dir / name))
        return None


def record_of(run: str, pid: int) -> RunRecord:
    try:
        return RunRecord(run, pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return RunRecord(run, pid)


async def free_port(state_dir: Path, port: int, user: int | None = None) -> tuple[str, ...]:
    """End what the recorded run left behind, within seconds. Returns the names of the ended processes. Raises Occupied
    if the port is still held after that.

    `user`: the uid of the app's code, if it is not the agent's own.
    """
    ended, survivors = await end_run(state_dir)
    for _ in range(PORT_TRIES):
        if find.is_free(port):
            return ended
        _kill_user_holder(port, user)
        await asyncio.sleep(TRY_SECONDS)
    raise Occupied(_port_problem(port, {process.pid for process in survivors}))


async def end_run(state_dir: Path, name: str = RECORD) -> tuple[tuple[str, ...], list[psutil.Process]]:
    """End what the recorded run left behind, within seconds. Returns the names of the ended processes, and the
    processes that could not be ended.
    """
    record = read_record(state_dir, name)
    ended: dict[int, str] = {}
    survivors: list[psutil.Process] = []
    for _ in range(KILL_TRIES):
        survivors = _survivors(record) if record else []
        if not survivors:
            break
        for process in survivors:
            with suppress(psutil.Error):
                log.warning("dev_server.orphan_ended", pid=process.pid, program=process.name())
                process.kill()
                ended[process.pid] = f"{process.name()} (pid {process.pid})"
        await asyncio.sleep(TRY_SECONDS)
    return tuple(ended.values()), survivors


def _kill_user_holder(port: int, user: int | None) -> None:
    with suppress(psutil.Error):
        holder = port_holder(port) if user is not None else None
        if holder is not None and holder.uids().real == user:
            log.warning("dev_server.port_freed", pid=holder.pid, program=holder.name(), port=port)
            holder.kill()


def _survivors(record: RunRecord) -> list[psutil.Process]:
    found = set(find.with_run_mark(record.run))
    if record.pid is not None and record.create_time is not None:
        with suppress(psutil.Error):
            leader = psutil.Process(record.pid)
            if abs(leader.create_time() - record.create_time) < START_TIME_TOLERANCE:
                found |= {leader, *find.of_session(leader.pid)}
    return [process for process in found if find.is_alive(process)]


def _port_problem(port: int, ours: set[int]) -> str:
    try:
        holder = port_holder(port)
        name = f"{holder.name()} (pid {holder.pid})" if holder else "a program of another user"
    except psutil.Error:
        return f"port {port} was held until a moment ago"
    if holder and holder.pid in ours:
        return f"port {port} is held by {name}, which an earlier run of this agent started and which cannot be ended"
    return f"port {port} is held by {name}, which this agent did not start: end it, or set DEV_PORT to a free port"
