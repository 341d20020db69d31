"""What a first sync of a large app costs in memory, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.peers.backend_client import Place
from tests.peers.backend_honest import EVERYTHING, HonestBackend, serving

ROOT = Path(__file__).parents[2]
FILES, MIB = 5_000, 64


@pytest.mark.timeout(120)
async def test_the_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """The number depends on the interpreter's build and on the C library; the limit is the budget of the image's."""
    backend = HonestBackend(EVERYTHING)
    backend.put({f"src/d{n % 50}/f{n}.tsx": f"export const number = {n};\n" * 130 for n in range(FILES)})
    async with serving(backend):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.peers.backend_victim", backend.url, str(tmp_path), "measure"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    peak = float(out)
    print(f"peak: {peak:.1f} MiB of {MIB}, {FILES} files")  # noqa: T201 - for pytest -s

    assert len(Place(tmp_path).files()) == FILES
    assert peak <= MIB
