"""Building the image: the engine's own layers are the cache, so that a second build takes seconds."""

from __future__ import annotations

from scripts import setup
from scripts.images.engine import DOCKERFILE, ROOT, Engine, Failed


def build(engine: Engine) -> None:
    """Raises Unavailable without a base, and Failed with the end of what the engine said."""
    engine.require_base()
    try:
        setup.run(f"building {DOCKERFILE.relative_to(ROOT)} with {engine.program}", *engine.build_command())
    except setup.Missing as failure:
        raise Failed(str(failure)) from None
