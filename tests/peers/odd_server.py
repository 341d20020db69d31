"""A dev server that misbehaves on request. `python odd_server.py PORT [FLAG…]`; needs nothing but Python.

It answers one request at a time, so that one that hangs hangs it all, as a blocked event loop does. Flags act at the
start; `GET /do/NAME` makes it act later.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TextIO

PORT, FLAGS = int(sys.argv[1]), sys.argv[2:]
NEXT_OUTPUT = Path(__file__).parents[1] / "unit/devserver/nextjs/next_output"
EXECUTION = [os.getpid()]
KEPT: list[bytearray] = []
PATIENCE = 120.0  # seconds: longer than any test
SLEEPER = [sys.executable, "-c", f"import time; time.sleep({PATIENCE})"]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/__nextjs_server_status" and "not-next" not in FLAGS:
            self._answer(200, json.dumps({"executionId": EXECUTION[-1]}))
        elif path.startswith("/do/"):
            self._answer(200, "as you wish")
            self.wfile.flush()
            act(path.removeprefix("/do/"))
        else:
            self._answer(200 if path == "/" and "not-found" not in FLAGS else 404, "page")

    def do_POST(self) -> None:
        """Next's restart of itself: the same parent, the same port, another number and other memory."""
        if self.path != "/__nextjs_restart_dev" or "no-recycle" in FLAGS:
            self._answer(404, "page")
            return
        self._answer(204, "")
        KEPT.clear()
        EXECUTION.append(EXECUTION[-1] + 1)

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name for it
        pass


def say(line: str, stream: TextIO = sys.stdout) -> None:
    stream.write(line + "\n")
    stream.flush()


def act(what: str) -> None:
    match what.split("-"):
        case ["exit", status]:
            os._exit(int(status))
        case ["hang"]:
            time.sleep(PATIENCE)
        case ["spin"]:
            while True:
                pass
        case ["flood"]:
            sys.stdout.buffer.write(b"x" * 10_000_000 + b"\nafter the flood\n")
            sys.stdout.buffer.flush()
        case ["say", *_]:  # what Next says, as it was recorded
            say((NEXT_OUTPUT / f"{what.removeprefix('say-')}.txt").read_text("utf-8"), sys.stderr)
        case ["fill", size]:
            kept = bytearray(int(size))
            for page in range(0, len(kept), 4096):
                kept[page] = 1
            KEPT.append(kept)
        case ["environ"]:
            say(json.dumps(dict(os.environ)))
        case _:
            raise ValueError(what)


def at_start(flag: str) -> None:
    kind, _, rest = flag.partition(":")
    if kind == "while":  # `while:PATH:NAME`: what it does, and then dies, as long as something is there
        path, _, what = rest.partition(":")
        if os.path.lexists(path):
            act(what)
            os._exit(1)
    match flag.split("-"):
        case ["deaf"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case ["child"]:  # in the same group, and it holds both pipes
            subprocess.Popen(SLEEPER)
        case ["daemon"]:  # out of the group and the session, and it holds both pipes
            subprocess.Popen(SLEEPER, start_new_session=True)
        case ["dies", *_]:
            say("TypeError: it never was right", sys.stderr)
            os._exit(1)
        case ["needs", name] if not Path(name).exists():
            say(f"there is no {name}", sys.stderr)
            os._exit(1)
        case ["mute"]:
            time.sleep(PATIENCE)
        case _:
            pass  # it acts later


if __name__ == "__main__":
    for one in FLAGS:
        at_start(one)
    say("\x1b[32mlistening\x1b[0m")
    if "fork" in FLAGS and os.fork():
        # As Next does: the parent waits, and its child holds the port and does the work.
        os.wait()
        os._exit(0)
    signal.alarm(int(PATIENCE))  # whatever a broken agent forgets ends by itself
    HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
