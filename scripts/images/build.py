"""Builds the image. The engine caches layers, so a second build takes seconds."""

from __future__ import annotations

from scripts import setup
from scripts.images.engine import DOCKERFILE, ROOT, Engine, Failed


def build(engine: Engine) -> None:
    """Build the image. Raise Unavailable without a base image, and Failed with the end of the engine's output."""
    engine.require_base()
    try:
        setup.run(f"building {DOCKERFILE.relative_to(ROOT)} with {engine.program}", *engine.build_command())
    except setup.Missing as failure:
        raise Failed(str(failure)) from None
