"""Memory as the real kernel counts it, in a control group that is really full."""

from __future__ import annotations

import subprocess
import sys

from agent.devserver.repair.memory_limit import MIB
from agent.devserver.repair.memory_reader import MemoryReader
from tests.peers.control_group import control_group

HOG = """
import sys
kept = bytearray(int(sys.argv[1]))
for page in range(0, len(kept), 4096):
    kept[page] = 1
print("full", flush=True)
input()
"""


def test_the_limit_the_use_and_the_kill_of_a_real_group_are_read() -> None:
    reader = MemoryReader(vm_megabytes=None)
    with control_group(64 * MIB) as group:
        hog = subprocess.Popen(
            group.command(sys.executable, "-S", "-E", "-c", HOG, str(32 * MIB)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with hog:
            assert hog.stdout is not None
            assert hog.stdout.readline() == b"full\n"
            before = reader.read(hog.pid)
            hog.communicate(b"\n", timeout=20)
        killed = subprocess.run(
            group.command(sys.executable, "-S", "-E", "-c", HOG, str(128 * MIB)),
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
        after = reader.read_again()

    assert before is not None
    assert after is not None
    assert (before.limit, before.counter) == (64 * MIB, str(group.folder))
    assert 32 * MIB <= before.used <= 64 * MIB
    assert killed.returncode == -9
    assert (before.oom_kills, after.oom_kills) == (0, 1)
