"""An app that means harm, run as the dev server: `python hostile.py PORT DEED AGENT_PORT GATEWAY_PORT`.

It needs nothing but Python. It serves its page first, so that the agent counts it as ready, and then does its deed
once, in a process of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, DEED, AGENT_PORT, GATEWAY_PORT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PATIENCE = 60


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name for it
        pass


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def bomb() -> None:
    """Forks without end, each child in a session of its own, so that no group or session names them all."""
    signal.alarm(PATIENCE)
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
                signal.alarm(PATIENCE)  # not inherited; a broken test must not leave a bomb behind
        except OSError:
            time.sleep(0.001)


def comets() -> None:
    """Processes that are gone before they are found: each forks once and leaves, and so does its child."""
    end = time.monotonic() + PATIENCE
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for them
    say("comets fly")
    for _ in range(12):
        if os.fork() == 0:
            os.setsid()
            while time.monotonic() < end:
                with suppress(OSError):
                    if os.fork():
                        os._exit(0)
            os._exit(0)


def signals() -> None:
    """To every process it can see, and to all that it may signal at once."""
    refused = taken = 0
    me = {os.getpid(), os.getppid()}
    for process in Path("/proc").iterdir():
        name = process.name
        if name.isdigit() and int(name) not in me and process.stat().st_uid != os.getuid():
            for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
                try:
                    os.kill(int(name), number)
                    taken += 1
                except PermissionError:
                    refused += 1
                except ProcessLookupError:
                    pass
    say(f"signals refused {refused > 0} taken {taken}")


def flood() -> None:
    """A gigabyte without the end of a line."""
    block = b"x" * (1 << 20)
    for _ in range(1024):
        os.write(1, block)
    say("")
    say("the flood is over")


def lines() -> None:
    """Two million empty lines, then half a million short ones."""
    for block in (b"\n" * (1 << 20), b"ab\n" * (1 << 18)):
        for _ in range(2):
            os.write(1, block)
    say("the flood is over")


def connections() -> None:
    """Thousands to both of the agent's ports, all kept open and silent."""
    held = []
    for number in range(3000):
        client = socket.socket()
        client.settimeout(5)
        try:
            client.connect(("127.0.0.1", GATEWAY_PORT if number % 2 else AGENT_PORT))
            held.append(client)
        except OSError:
            client.close()
    say("connections tried")
    time.sleep(PATIENCE)


def squat() -> None:
    """Takes the agent's ports in every way there is, and says which it got."""
    for port in (AGENT_PORT, GATEWAY_PORT):
        for family, host in (
            *((socket.AF_INET, host) for host in ("127.0.0.1", "0.0.0.0")),
            *((socket.AF_INET6, host) for host in ("::1", "::")),
        ):
            with socket.socket(family) as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                try:
                    thief.bind((host, port))
                    thief.listen()
                    say(f"squat got {host} {port}")
                except OSError:
                    pass
    say("squat tried")


def heir() -> None:
    """Leaves group, session and mark, and waits for the port to be free, so that the next server cannot have it."""
    if os.fork():
        return
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-c", HEIR, str(PORT), str(PATIENCE)], {})


HEIR = """
import signal, socket, sys, time
signal.alarm(int(sys.argv[2]))
while True:
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        thief.bind(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        thief.close()
        time.sleep(0.001)
thief.listen()
time.sleep(1000)
"""


def fill() -> None:
    """Writes until the disk is full, and says so; what it wrote goes when somebody deletes `enough`."""
    Path("enough").touch()
    with Path("filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 65536)
        except OSError as error:
            say(f"full {error.errno}")
        while Path("enough").exists():
            time.sleep(0.01)
    Path("filler").unlink()


def later(deed: str) -> None:
    """The deed in a process of its own: what it does to itself must not end the server."""
    while True:
        try:
            child = os.fork()
            break
        except BlockingIOError:  # the dead of an earlier server count against the user's limit until they are reaped
            time.sleep(0.01)
    if child == 0:
        signal.alarm(PATIENCE)
        globals()[deed]()
        os._exit(0)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    signal.alarm(PATIENCE)
    if DEED != "nothing":
        threading.Timer(0.2, later, [DEED]).start()
    server.serve_forever()
