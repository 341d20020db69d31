"""What an image weighs, read from archives as the two engines write them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from scripts.images import sizes
from scripts.images.sizes import Layer

ROOT_LAYER = b"the base " * 5000
AGENT_LAYER = bytes(range(256)) * 40
HISTORY: list[dict[str, Any]] = [
    {"created_by": "/bin/sh"},
    {"created_by": "/bin/sh -c #(nop) ENV A=b", "empty_layer": True},
    {"created_by": f"/bin/sh -c #(nop) COPY dir:{'0f' * 32} in /opt/agent "},
]


class Pipe(io.RawIOBase):
    """Bytes that can be read once, as those of a pipe."""

    def __init__(self, content: bytes) -> None:
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._left.read(size)


def archive(*members: tuple[str, bytes | str]) -> Any:
    """A tar of files; a text is a link to another member."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return Pipe(whole.getvalue())


def manifest(*layers: str, config: str = "abc.json") -> bytes:
    return json.dumps([{"Config": config, "RepoTags": ["x"], "Layers": layers}]).encode()


def config(history: list[dict[str, Any]]) -> bytes:
    return json.dumps({"history": history}).encode()


def test_each_layer_is_named_after_the_step_that_made_it() -> None:
    layers = sizes.read(
        archive(
            ("1.tar", ROOT_LAYER),
            ("2.tar", AGENT_LAYER),
            ("abc.json", config(HISTORY)),
            ("manifest.json", manifest("1.tar", "2.tar")),
        )
    )
    assert [(layer.made_by, layer.size) for layer in layers] == [
        ("the base image", len(ROOT_LAYER)),
        ("COPY /opt/agent", len(AGENT_LAYER)),
    ]


def test_a_layer_is_as_small_as_gzip_makes_it() -> None:
    (layer,) = sizes.read(
        archive(("1.tar", ROOT_LAYER), ("abc.json", config(HISTORY[:1])), ("manifest.json", manifest("1.tar")))
    )
    assert layer.compressed == pytest.approx(len(gzip.compress(ROOT_LAYER, sizes.LEVEL)), abs=16)


def test_a_layer_that_stands_in_the_image_twice_is_a_link_and_counts_twice() -> None:
    layers = sizes.read(
        archive(
            ("1/layer.tar", ROOT_LAYER),
            ("2/layer.tar", "../1/layer.tar"),
            ("abc.json", config([HISTORY[0], HISTORY[2]])),
            ("manifest.json", manifest("1/layer.tar", "2/layer.tar")),
        )
    )
    assert [layer.size for layer in layers] == [len(ROOT_LAYER)] * 2


def test_layers_that_are_packed_already_and_have_no_ending_are_read_too() -> None:
    packed = gzip.compress(ROOT_LAYER)
    (layer,) = sizes.read(
        archive(
            ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            ("blobs/sha256/aa", packed),
            ("blobs/sha256/bb", config(HISTORY[:1])),
            ("manifest.json", manifest("blobs/sha256/aa", config="blobs/sha256/bb")),
        )
    )
    assert (layer.size, layer.compressed) == (len(ROOT_LAYER), len(packed))


def test_an_archive_whose_history_does_not_fit_its_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        sizes.read(
            archive(("1.tar", ROOT_LAYER), ("abc.json", config([])), ("manifest.json", manifest("1.tar"))),
        )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("/bin/sh -c apt-get update \t && apt-get install", "apt-get update && apt-get install"),
        ("RUN /bin/sh -c npm ci # buildkit", "RUN npm ci"),
        ("COPY /opt/agent /opt/agent # buildkit", "COPY /opt/agent /opt/agent"),
        ("", "the base image"),
    ],
)
def test_a_step_is_told_shortly(step: str, said: str) -> None:
    assert sizes.instruction(step) == said


def test_a_budget_that_is_not_kept_is_named_with_both_numbers() -> None:
    small = [Layer("x", 10, 5)]
    assert sizes.over(small, 100) == []
    assert sizes.over(small, 1_300_000_000) == ["on disk: 1,300.0 MB is over the budget of 1,200.0 MB"]
    assert sizes.over([Layer("x", 10, 300_000_001)], 100) == ["compressed: 300.0 MB is over the budget of 300.0 MB"]
    assert "all of it" in sizes.as_table(small, 100)
