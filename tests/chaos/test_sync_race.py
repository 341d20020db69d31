"""User code that swaps a folder for a link, again and again, while bursts go on: nothing is ever written outside."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from agent.errors import DiskError
from agent.sync.plan import plan
from tests.peers.backend_client import Place
from tests.peers.backend_sets import sha, whole

BURSTS = 150

SWAPPER = """
import os, shutil, sys
root, outside = sys.argv[1:]
print("ready", flush=True)
while True:
    for name in ("app", "app/deep"):
        real = os.path.join(root, name)
        try:
            os.rename(real, real + ".real")
            os.symlink(outside, real)
            os.unlink(real)
        except OSError:
            pass
        try:
            os.rename(real + ".real", real)
        except OSError:  # a burst has made the folder anew in the meantime
            shutil.rmtree(real + ".real", ignore_errors=True)
"""


@pytest.mark.timeout(60)
def test_a_folder_that_becomes_a_link_at_any_moment_leads_nowhere(tmp_path: Path) -> None:
    place, outside = Place(tmp_path), tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    for name in ("old.ts", "deep/old.ts"):
        (outside / name).write_bytes(b"outside")
    disk = place.disk()
    disk.open()
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(place.workspace), str(outside)], stdout=subprocess.PIPE
    )
    obstacles = 0
    try:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"ready\n"
        for turn in count():
            if turn >= BURSTS and obstacles:  # on a busy machine the swapper may not have had its turn yet
                break
            data = b"%d" % turn
            files = {f"{above}/{name}.ts": data for above in ("app", "app/deep", "app/deep/er") for name in range(6)}
            files |= {} if turn % 2 else {"app/old.ts": data, "app/deep/old.ts": data}
            known = {path: record.sha256 for path, record in disk.manifest.files.items()}
            disk.stage_bytes(sha(data), data)
            operations = plan(known, whole(files), delta=False, stale=disk.find_stale(read=True))
            with suppress(DiskError):
                obstacles += bool(disk.apply(operations, etag='"1"', revision=1).notes)
            assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*")) == [
                "deep",
                "deep/old.ts",
                "old.ts",
            ]
    finally:
        swapper.kill()
        swapper.communicate()
        disk.close()
    assert {path.read_bytes() for path in outside.rglob("*.ts")} == {b"outside"}
