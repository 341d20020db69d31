"""Tries what the app's own code must not be able to do, and prints the result of each attempt.

`agent check` runs this text as DEV_USER, exactly as the dev server is run (isolation.py). So it uses only the
standard library, nothing of the agent, and no file that the user would have to be able to read. The targets come as
JSON on standard input. Each attempt prints one line of JSON, `["refused" | "went through" | "not tried", what,
detail]`. A successful attempt does no harm: signals have number 0, and created files are deleted again.
"""

from __future__ import annotations

import ctypes
import errno
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_GETFD = 438
REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})
GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENXIO, errno.ENOTDIR})
SECONDS = 5.0

libc = ctypes.CDLL(None, use_errno=True)


class Leak(Exception):
    """The attempt succeeded."""


class Untried(Exception):
    """The target does not exist here."""


def refused(what: str, call: Callable[[], object]) -> str | None:
    """Why the system refused; None if the target does not exist. Raises Leak if it did not refuse."""
    try:
        call()
    except OSError as error:
        if error.errno in GONE:
            return None
        if error.errno in REFUSED:
            return os.strerror(error.errno)
        raise Untried(f"{what}: {error}") from None
    raise Leak(what)


def all_refused(attempts: Iterator[tuple[str, Callable[[], object]]]) -> str:
    reasons = [reason for what, call in attempts if (reason := refused(what, call)) is not None]
    if not reasons:
        raise Untried("the targets do not exist")
    return f"{', '.join(sorted(set(reasons)))} ({len(reasons)} {'try' if len(reasons) == 1 else 'tries'})"


def raw(call: Callable[[], int]) -> int:
    """Call the C library. Raises OSError on failure."""
    ctypes.set_errno(0)
    result = call()
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read(path: str) -> bytes:
    with Path(path).open("rb", buffering=0) as file:
        return file.read(4096) or b""


def entries(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def make_file(folder: str) -> None:
    path = Path(folder, f".preview-agent-check-{os.getpid()}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    path.unlink()


def open_as(flags: int, path: str) -> None:
    os.close(os.open(path, flags))


def environments(_: dict[str, Any]) -> str:
    """Reads every process's environment: others' must be closed, and those of this user must hold no key."""
    closed = 0
    for pid in filter(str.isdigit, entries("/proc")):
        try:
            held = read(f"/proc/{pid}/environ")
            owner = Path(f"/proc/{pid}").stat().st_uid
        except OSError as error:
            closed += error.errno in REFUSED
            continue
        if owner != os.getuid():
            raise Leak(f"the environment of process {pid}, of user {owner}, can be read")
        if b"API_KEY=" in held:
            raise Leak(f"process {pid} of this user was given an API_KEY")
    return f"the environments of {closed} processes are closed; those of this user hold no key"


def memory(target: dict[str, Any]) -> str:
    pid = int(target["pid"])

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    def seize() -> None:
        raw(lambda: libc.ptrace(PTRACE_SEIZE, pid, None, None))
        libc.ptrace(PTRACE_DETACH, pid, None, None)

    def copy() -> None:
        buffer = ctypes.create_string_buffer(16)
        mine, theirs = Piece(ctypes.addressof(buffer), 16), Piece(0x10000, 16)
        try:
            raw(lambda: libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0))
        except OSError as error:
            if error.errno != errno.EFAULT:  # the address is not mapped, but reading was allowed
                raise

    return all_refused(
        iter(
            [
                ("/proc/PID/mem can be opened", partial(open_as, os.O_RDONLY, f"/proc/{pid}/mem")),
                ("/proc/PID/maps can be read", partial(read, f"/proc/{pid}/maps")),
                ("/proc/PID/environ can be read", partial(read, f"/proc/{pid}/environ")),
                ("ptrace attaches", seize),
                ("process_vm_readv reads", copy),
            ]
        )
    )


def descriptors(target: dict[str, Any]) -> str:
    pid = int(target["pid"])

    def tries() -> Iterator[tuple[str, Callable[[], object]]]:
        yield "the list can be read", partial(entries, f"/proc/{pid}/fd")
        yield "its folder can be entered", partial(entries, f"/proc/{pid}/cwd/")
        with suppress(OSError):
            handle = os.pidfd_open(pid)
            for number in range(32):
                yield f"number {number} can be opened", partial(read, f"/proc/{pid}/fd/{number}")
                yield (
                    f"number {number} can be copied",
                    partial(raw, partial(libc.syscall, PIDFD_GETFD, handle, number, 0)),
                )

    return all_refused(tries())


def fly_socket(target: dict[str, Any]) -> str:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(target["fly"])

    reason = refused(f"{target['fly']} takes the connection", connect)
    if reason is None:
        raise Untried("this machine has no such socket")
    return reason


def agent_port(target: dict[str, Any]) -> str:
    statuses = []
    for host in target["hosts"]:
        for method, path in (
            ("GET", "/status"),
            ("GET", "/events"),
            ("GET", "/logs"),
            ("POST", "/restart"),
            ("POST", "/sleep"),
        ):
            client = http.client.HTTPConnection(host, target["port"], timeout=SECONDS)
            try:
                client.request(method, path)
                status = client.getresponse().status
            except OSError as error:
                raise Untried(f"{host}:{target['port']}: {error}") from None
            finally:
                client.close()
            if status not in {401, 403}:
                raise Leak(f"{method} {path} over {host} was answered with {status}")
            statuses.append(status)
    hosts, seen = ", ".join(target["hosts"]), ", ".join(map(str, set(statuses)))
    return f"{len(statuses)} requests without the key, over {hosts}: {seen}"


def state(target: dict[str, Any]) -> str:
    def tries() -> Iterator[tuple[str, Callable[[], object]]]:
        for folder in target["closed_folders"]:
            yield f"{folder} can be listed", partial(entries, folder)
            yield f"{folder} can be written", partial(make_file, folder)
        for file in target["closed_files"]:
            yield f"{file} can be read", partial(read, file)

    return all_refused(tries())


def signals(target: dict[str, Any]) -> str:
    pids = [int(target["pid"]), os.getppid(), 1]
    return all_refused((f"process {pid} takes a signal", partial(os.kill, pid, 0)) for pid in pids)


def outside(target: dict[str, Any]) -> str:
    def tries() -> Iterator[tuple[str, Callable[[], object]]]:
        for folder in target["folders"]:
            yield f"{folder} can be written", partial(make_file, folder)
        for file in ("/etc/passwd", "/etc/ld.so.preload", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
            yield f"{file} can be opened for writing", partial(open_as, os.O_WRONLY, file)

    return all_refused(tries())


def devices(_: dict[str, Any]) -> str:
    """Opens the devices of memory and disks, and a raw packet socket."""

    def tries() -> Iterator[tuple[str, Callable[[], object]]]:
        names = ["mem", "kmem", "kmsg", *(line.split()[3] for line in text("/proc/partitions").splitlines()[2:])]
        for name in names:
            yield f"/dev/{name} can be opened", partial(open_as, os.O_RDONLY, f"/dev/{name}")
        yield "packets can be captured", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()

    return all_refused(tries())


def text(path: str) -> str:
    with suppress(OSError):
        return read(path).decode("utf-8", "replace")
    return ""


def privileges(_: dict[str, Any]) -> str:
    facts = dict(line.split(":", 1) for line in text("/proc/self/status").splitlines() if ":" in line)
    if len({*facts["Uid"].split(), *map(str, (os.getuid(),))}) != 1 or os.getuid() == 0:
        raise Leak(f"the user ids are {facts['Uid'].split()}")
    if facts["Groups"].split():
        raise Leak(f"it is in the groups {facts['Groups'].split()}")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(facts[name], 16):
            raise Leak(f"{name} is {facts[name].strip()}")
    if facts["NoNewPrivs"].strip() != "1":
        raise Leak("no_new_privs is not set")
    return all_refused(
        iter(
            [
                ("setuid(0) went through", lambda: os.setuid(0)),
                ("setgid(0) went through", lambda: os.setgid(0)),
                ("setgroups went through", lambda: os.setgroups([0])),
                ("chroot went through", lambda: os.chroot("/tmp")),  # noqa: S108 - a folder that is there
            ]
        )
    )


def setuid_programs(_: dict[str, Any]) -> str:
    tried = []
    for command in (
        ("su", "root", "-c", "id -u"),
        ("sudo", "-n", "id", "-u"),
        ("pkexec", "id", "-u"),
        ("mount", "-t", "tmpfs", "none", "/mnt"),
        ("newuidmap", str(os.getpid()), "0", "0", "1"),
    ):
        try:
            done = subprocess.run(  # noqa: S603 - a fixed list
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            done = None
        except OSError:
            continue
        if done is not None and (done.returncode == 0 or done.stdout.strip() == b"0"):
            raise Leak(f"{command[0]} made it root")
        tried.append(command[0])
    if not tried:
        raise Untried("no such program is installed")
    return f"{', '.join(tried)} gave nothing"


def limits(_: dict[str, Any]) -> str:
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise Leak("core dumps are on")
    tasks = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if tasks == resource.RLIM_INFINITY:
        raise Leak("the number of its processes is not limited")
    score = int(text("/proc/self/oom_score_adj") or 0)
    if score <= 0:
        raise Leak(f"the OOM killer would not choose it first: its oom_score_adj is {score}")
    limited = f"no core dumps, at most {tasks} processes and threads, oom_score_adj {score}"
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score - 1), "ascii")
    except OSError:
        return limited
    Path("/proc/self/oom_score_adj").write_text(str(score), "ascii")
    return f"{limited}, which it can lower, since root has no CAP_SYS_RESOURCE in this container"


ATTEMPTS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("read the environment of every process", environments),
    ("read the agent's memory", memory),
    ("take the agent's open files", descriptors),
    ("connect to the machine's own socket", fly_socket),
    ("use the agent's port", agent_port),
    ("read the agent's state and key", state),
    ("signal the agent", signals),
    ("write outside the workspace", outside),
    ("open devices, capture packets", devices),
    ("regain privileges", privileges),
    ("gain privileges by a setuid program", setuid_programs),
    ("exceed its limits", limits),
)


def main() -> None:
    target = json.load(sys.stdin)
    for what, attempt in ATTEMPTS:
        try:
            line = ["refused", what, attempt(target)]
        except Leak as leak:
            line = ["went through", what, str(leak)]
        except Untried as why:
            line = ["not tried", what, str(why)]
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
