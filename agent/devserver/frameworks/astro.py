"""Astro 3 to 6. Its dev server is Vite's, with a command line and a configuration of its own. Pure."""

from __future__ import annotations

from typing import Final

from agent.devserver.frameworks import vite_lines
from agent.devserver.frameworks.framework import DroppedFlag, Framework, ServerProgram
from agent.devserver.frameworks.vite import OPEN, PING

ASTRO: Final = Framework(
    name="astro",
    title="Astro",
    packages=("astro",),
    tools=(
        ServerProgram(
            program="astro",
            verbs=("dev",),
            dropped=(DroppedFlag(("--port",), "needed"), DroppedFlag(("--host",), "optional"), OPEN),
            added=("--port", "{port}", "--host", "127.0.0.1"),
        ),
    ),
    liveness=PING,
    lines=vite_lines.read,
    config=("astro.config.",),
    env="all",
    cache=("node_modules", ".vite"),
    base=("base",),
    checks_host=True,
    checks_origin=True,
    variables={"ASTRO_TELEMETRY_DISABLED": "1"},
)
