"""Tells when new content of a file is in place, by inotify on its folder, on a thread of its own.

The time is taken when the kernel's event is read, before the file is opened to compare its content. Nothing polls,
since that would take CPU time from the measurement. A rename and a close after writing in place are both seen.
"""

from __future__ import annotations

import ctypes
import os
import queue
import select
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

IN_CLOSE_WRITE = 0x00000008
IN_MOVED_TO = 0x00000080
HEAD = struct.Struct("iIII")


class Late(Exception):
    """A change did not arrive in time, or the watch has ended."""


class Arrivals:
    def __init__(self) -> None:
        self._came: queue.SimpleQueue[tuple[float, bytes | None]] = queue.SimpleQueue()

    def of(self, content: bytes, within: float) -> float:
        """Return the `time.perf_counter` at which `content` was in place. Raise Late."""
        end = time.monotonic() + within
        while True:
            try:
                at, came = self._came.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Late(f"a change was not on disk within {within:g} s") from None
            if came is None:
                raise Late("the watch has ended")
            if came == content:
                return at

    def end(self) -> None:
        """Let waiting calls of `of` raise Late."""
        self._came.put((0.0, None))

    def read(self, events: int, stop: int, path: Path) -> None:
        while stop not in (ready := [file for file, _ in _poll(events, stop).poll()]) and ready:
            data = os.read(events, 65_536)
            at = time.perf_counter()
            if path.name in _names(data):
                with suppress(FileNotFoundError):
                    self._came.put((at, path.read_bytes()))


@contextmanager
def arrivals(path: Path) -> Iterator[Arrivals]:
    """Watch one file, which may not exist yet; its folder must exist."""
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_CLOEXEC)
    if events < 0 or libc.inotify_add_watch(events, os.fsencode(path.parent), IN_CLOSE_WRITE | IN_MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), f"{path.parent} cannot be watched")
    stopped, stop = os.pipe()
    watched = Arrivals()
    thread = threading.Thread(target=watched.read, args=(events, stopped, path), name=f"arrivals of {path.name}")
    thread.start()
    try:
        yield watched
    finally:
        watched.end()
        os.close(stop)
        thread.join()
        os.close(stopped)
        os.close(events)


def _poll(*files: int) -> select.poll:
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return poll


def _names(data: bytes) -> set[str]:
    names, at = set(), 0
    while at < len(data):
        _, _, _, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        names.add(os.fsdecode(data[at : at + length].rstrip(b"\0")))
        at += length
    return names
