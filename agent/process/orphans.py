"""What an earlier life left behind: found, ended, and never confused with a stranger's.

An agent that was killed leaves its dev server running, on our port and with our cache. Every run has a random id: it
is in the record in STATE_DIR before the process exists, and in the environment of every process of the run. Ended is
only who carries that id, or is the recorded leader itself (same pid, same time of birth), or is in that living
leader's session. Where the app's code has a user of its own, so is that user's process on our port: it can only be
code that took off its mark. Whoever else holds the port is named in an error, and left alone.

Relies on the state folder's lock: two agents on one STATE_DIR would take each other's server for an orphan.
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
from agent.process import find as census

log = structlog.get_logger()

RECORD = "dev-server.json"
INSTALLER = "installer.json"
TRY_SECONDS = 0.02
KILL_TRIES = 100
PORT_TRIES = 25  # the port of a killed process is free at once; this is for whoever is just leaving
BIRTH_TOLERANCE = 1.0  # seconds: the system's idea of its own boot time moves when its clock is set


@dataclass(frozen=True, slots=True)
class Record:
    """One run. pid (which is also the session's id) and time of birth follow once there is a process."""

    run: str
    pid: int | None = None
    session: int | None = None
    create_time: float | None = None


def write(state_dir: Path, record: Record, name: str = RECORD) -> None:
    """Put the record in place whole. Raises DiskError. No fsync: what a power cut takes, it takes the process too."""
    path = state_dir / name
    staged = path.with_suffix(".new")
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(orjson.dumps(asdict(record)))
        staged.replace(path)
    except OSError as error:
        raise DiskError(f"{path} could not be written: {error.strerror}") from None


def read(state_dir: Path, name: str = RECORD) -> Record | None:
    """The last record; None where there is none that can be read."""
    try:
        said = orjson.loads((state_dir / name).read_bytes())
        return Record(str(said["run"]), said.get("pid"), said.get("session"), said.get("create_time"))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        log.warning("dev_server.record_unreadable", path=str(state_dir / name))
        return None


def record_of(run: str, pid: int) -> Record:
    try:
        return Record(run, pid, pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return Record(run, pid, pid)


async def clear(state_dir: Path, port: int, user: int | None = None) -> tuple[str, ...]:
    """End what the recorded run left, within seconds, and say who that was. Raises Occupied where the port is still
    held after that.

    `user`: the uid of the app's code, where that is not our own.
    """
    ended, survivors = await end(state_dir)
    for _ in range(PORT_TRIES):
        if census.is_free(port):
            return ended
        _evict(port, user)
        await asyncio.sleep(TRY_SECONDS)
    raise Occupied(_complaint(port, {process.pid for process in survivors}))


async def end(state_dir: Path, name: str = RECORD) -> tuple[tuple[str, ...], list[psutil.Process]]:
    """End what the recorded run left, within seconds: who was ended, and those that could not be."""
    record = read(state_dir, name)
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


def _evict(port: int, user: int | None) -> None:
    with suppress(psutil.Error):
        holder = census.holder(port) if user is not None else None
        if holder is not None and holder.uids().real == user:
            log.warning("dev_server.port_freed", pid=holder.pid, program=holder.name(), port=port)
            holder.kill()


def _survivors(record: Record) -> list[psutil.Process]:
    found = set(census.marked(record.run))
    if record.pid is not None and record.create_time is not None:
        with suppress(psutil.Error):
            leader = psutil.Process(record.pid)
            if abs(leader.create_time() - record.create_time) < BIRTH_TOLERANCE:
                found |= {leader, *census.of_session(leader.pid)}
    return [process for process in found if census.is_living(process)]


def _complaint(port: int, ours: set[int]) -> str:
    try:
        holder = census.holder(port)
        who = f"{holder.name()} (pid {holder.pid})" if holder else "a program of another user"
    except psutil.Error:
        return f"port {port} was held until a moment ago"
    if holder and holder.pid in ours:
        return f"port {port} is held by {who}, which an earlier run of this agent started and which cannot be ended"
    return f"port {port} is held by {who}, which this agent did not start: end it, or set DEV_PORT to a free port"
