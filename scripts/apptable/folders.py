"""Reads and writes whole folders of files, and the versions of what is installed in them."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from scripts.apptable.compare import CACHES

Files = dict[str, bytes]


def paths(folder: Path) -> Iterator[str]:
    """Relative paths of all files that are not in a cache, links included and not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in CACHES]
        base = Path(root).relative_to(folder)
        yield from (str(PurePosixPath(base / name)) for name in files)


def read(folder: Path) -> Files:
    return {path: (folder / path).read_bytes() for path in sorted(paths(folder)) if not (folder / path).is_symlink()}


def write(folder: Path, changes: Mapping[str, bytes | str | None]) -> None:
    """Each file by an atomic rename, as editors save; None deletes."""
    for path, content in changes.items():
        target = folder / path
        if content is None:
            target.unlink(missing_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.rename(target)


def texts(files: Mapping[str, bytes]) -> dict[str, str]:
    """The files that are UTF-8."""
    decoded = {}
    for path, content in files.items():
        try:
            decoded[path] = content.decode()
        except UnicodeDecodeError:
            continue
    return decoded


def tarball(files: Mapping[str, bytes]) -> bytes:
    """An npm package of these files; the same bytes each time."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in sorted(files.items()):
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


def installed(folder: Path) -> dict[str, str]:
    """Version by name of the packages at the top of `folder`/node_modules."""
    modules = folder / "node_modules"
    found = {}
    for manifest in [*modules.glob("[!.@]*/package.json"), *modules.glob("@*/*/package.json")]:
        try:
            version = json.loads(manifest.read_bytes()).get("version", "none")
        except (OSError, ValueError):
            continue
        found[str(manifest.parent.relative_to(modules))] = str(version)
    return found
