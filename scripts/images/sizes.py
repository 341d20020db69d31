"""Measures the size of the image: each layer, uncompressed and compressed, and all of it on a machine's disk.

It reads the archive that both Podman and Docker write: a tar of one tar per layer, compressed or not, and two JSON
files that name them. `read` and `as_table` do not depend on an engine.
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
DISK_BUDGET = 1.2e9  # 0.18 dollars per month
LEVEL = 6  # of gzip, the default of builders
GZIP = b"\x1f\x8b"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """`size` and `compressed` are bytes."""

    made_by: str
    size: int
    compressed: int


def measure(engine: Engine) -> tuple[list[Layer], int]:
    """Return the layers in order, and the bytes that they take on disk. Raise Unavailable or Failed."""
    engine.require_image()
    with engine.save() as saving:
        if saving.stdout is None:
            raise Failed(f"{engine.program} save has no output")
        layers = read(saving.stdout)
    if saving.returncode:
        raise Failed(f"{engine.program} save failed with {saving.returncode}")
    # Blocks and not bytes: 11,000 small files take 10 % more space on disk than they have bytes.
    du = ("--entrypoint", "du", IMAGE, "--summarize", "--one-file-system", "--block-size=1", "/")
    output = engine.command("run", "--rm", "--network", "none", *du)
    return layers, int(output.split()[0])


def read(archive: IO[bytes]) -> list[Layer]:
    """Return the layers of a saved image, read once from start to end."""
    sizes: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if member.issym() or member.islnk():  # a layer that is in the image twice
                links[member.name] = member.linkname.removeprefix("../")
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            # Names differ between engines and versions. JSON files begin with a bracket, and tars do not.
            head = content.read(2)
            if head[:1] in {b"{", b"["}:
                documents[member.name] = head + content.read()
            else:
                sizes[member.name] = layer_size(head, content)
        while archive.read(CHUNK):
            pass  # the tar ends before the stream, and the engine blocks until the rest is read
    (manifest,) = json.loads(documents["manifest.json"])
    history = json.loads(documents[manifest["Config"]])["history"]
    steps = [step.get("created_by", "") for step in history if not step.get("empty_layer")]
    names = [links.get(name, name) for name in manifest["Layers"]]
    return [Layer(instruction(step), *sizes[name]) for step, name in zip(steps, names, strict=True)]


def layer_size(head: bytes, rest: IO[bytes]) -> tuple[int, int]:
    """Return (uncompressed, compressed) bytes of a layer in either form. `head`: its first bytes, already read."""
    is_gzip = head == GZIP
    compressor, decompressor = zlib.compressobj(LEVEL, wbits=31), zlib.decompressobj(wbits=31)
    convert = decompressor.decompress if is_gzip else compressor.compress
    read_bytes = converted = 0
    chunk = head
    while chunk:
        read_bytes += len(chunk)
        converted += len(convert(chunk))
        chunk = rest.read(CHUNK)
    converted += len(decompressor.flush() if is_gzip else compressor.flush())
    return (converted, read_bytes) if is_gzip else (read_bytes, converted)


def instruction(step: str) -> str:
    """Return the Dockerfile instruction that created a layer, as one line."""
    text = re.sub(r"^/bin/sh -c (#\(nop\) *)?", "", re.sub(r"\s+", " ", step)).strip()
    text = re.sub(r"^RUN /bin/sh -c ", "RUN ", re.sub(r" # buildkit$", "", text))
    # Buildah names a copied folder by its hash, followed by its source.
    text = re.sub(r" (dir|file|multi):[0-9a-f]{64} in ", " ", text)
    return text if text not in {"", "/bin/sh"} else "the base image"  # its history may be empty


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
    """Return (name, measured, limit) of each budget."""
    return (
        ("compressed", float(sum(layer.compressed for layer in layers)), COMPRESSED_BUDGET),
        ("on disk", float(on_disk), DISK_BUDGET),
    )


def over(layers: Iterable[Layer], on_disk: int) -> list[str]:
    """Return one sentence per exceeded budget."""
    return [
        f"{name}: {mb(value)} MB is over the budget of {mb(limit)} MB"
        for name, value, limit in against(layers, on_disk)
        if value > limit
    ]


def mb(size: float) -> str:
    return f"{size / 1e6:,.1f}"
