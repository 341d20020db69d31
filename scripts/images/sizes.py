"""What the image weighs: each layer as it is, and as it travels; all of it as it lies on a machine's disk.

An image is read as the archive that Podman and Docker both write: a tar of one tar a layer, packed or not, and two JSON
files that name them. `read` and `as_table` touch nothing else and know no engine.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from scripts.images.engine import IMAGE, Engine, Failed

COMPRESSED_BUDGET = 300e6
DISK_BUDGET = 1.2e9  # what 0.18 dollars a month pay for
LEVEL = 6  # of gzip: what builders use where they are not told otherwise
GZIP = b"\x1f\x8b"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """`size` and `compressed` are bytes."""

    made_by: str
    size: int
    compressed: int


def measure(engine: Engine) -> tuple[list[Layer], int]:
    """The layers in order, and what a machine's disk holds of them. Raises Unavailable and Failed."""
    engine.require_image()
    with engine.save() as saving:
        if saving.stdout is None:
            raise Failed(f"{engine.program} save has no output")
        layers = read(saving.stdout)
    if saving.returncode:
        raise Failed(f"{engine.program} save failed with {saving.returncode}")
    # Blocks and not bytes: eleven thousand small files take a tenth more than they hold.
    du = ("--entrypoint", "du", IMAGE, "--summarize", "--one-file-system", "--block-size=1", "/")
    said = engine.ask("run", "--rm", "--network", "none", *du)
    return layers, int(said.split()[0])


def read(archive: IO[bytes]) -> list[Layer]:
    """The layers of a saved image, read once from front to end."""
    weights: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if member.issym() or member.islnk():  # a layer that stands in the image twice
                links[member.name] = member.linkname.removeprefix("../")
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            # Names differ by engine and age, what is inside does not: a document opens with a bracket, and no tar does.
            head = content.read(2)
            if head[:1] in {b"{", b"["}:
                documents[member.name] = head + content.read()
            else:
                weights[member.name] = weight(head, content)
        while archive.read(CHUNK):
            pass  # tar ends before the stream does, and whoever writes it has to get rid of the rest
    (manifest,) = json.loads(documents["manifest.json"])
    history = json.loads(documents[manifest["Config"]])["history"]
    steps = [step.get("created_by", "") for step in history if not step.get("empty_layer")]
    names = [links.get(name, name) for name in manifest["Layers"]]
    return [Layer(shortly(step), *weights[name]) for step, name in zip(steps, names, strict=True)]


def weight(head: bytes, rest: IO[bytes]) -> tuple[int, int]:
    """Bytes as they are and as gzip makes them, of a layer that may be in either form. `head` was read already."""
    packed = head == GZIP
    pack, unpack = zlib.compressobj(LEVEL, wbits=31), zlib.decompressobj(wbits=31)
    turn = unpack.decompress if packed else pack.compress
    given = made = 0
    chunk = head
    while chunk:
        given += len(chunk)
        made += len(turn(chunk))
        chunk = rest.read(CHUNK)
    made += len(unpack.flush() if packed else pack.flush())
    return (made, given) if packed else (given, made)


def shortly(step: str) -> str:
    """The instruction that made a layer, in one line."""
    text = re.sub(r"^/bin/sh -c (#\(nop\) *)?", "", re.sub(r"\s+", " ", step)).strip()
    text = re.sub(r"^RUN /bin/sh -c ", "RUN ", re.sub(r" # buildkit$", "", text))
    # Buildah writes a copied folder by its hash and says after it where it came from.
    text = re.sub(r" (dir|file|multi):[0-9a-f]{64} in ", " ", text)
    return text if text not in {"", "/bin/sh"} else "the base image"  # which does not always say how it was made


def as_table(layers: Sequence[Layer], on_disk: int) -> str:
    rows = [
        ("MB", "compressed", "layer"),
        *((mb(layer.size), mb(layer.compressed), layer.made_by) for layer in layers),
        (mb(sum(layer.size for layer in layers)), mb(sum(layer.compressed for layer in layers)), "all of it"),
    ]
    lines = [f"{size:>7}  {small:>10}  {what[:90]}" for size, small, what in rows]
    budgets = "; ".join(f"{name} {mb(value)} of {mb(limit)} MB" for name, value, limit in against(layers, on_disk))
    return "\n".join([*lines, budgets])


def against(layers: Iterable[Layer], on_disk: int) -> tuple[tuple[str, float, float], ...]:
    """Each budget with what was measured for it."""
    return (
        ("compressed", float(sum(layer.compressed for layer in layers)), COMPRESSED_BUDGET),
        ("on disk", float(on_disk), DISK_BUDGET),
    )


def over(layers: Iterable[Layer], on_disk: int) -> list[str]:
    """The budgets that are not kept, as sentences."""
    return [
        f"{name}: {mb(value)} MB is over the budget of {mb(limit)} MB"
        for name, value, limit in against(layers, on_disk)
        if value > limit
    ]


def mb(size: float) -> str:
    return f"{size / 1e6:,.1f}"
