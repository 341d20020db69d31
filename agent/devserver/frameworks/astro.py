"""Astro 3 to 6. Pure. Its dev server is a Vite with Astro's own command line and configuration."""

from __future__ import annotations

from typing import Final

from agent.devserver.frameworks import vite_lines
from agent.devserver.frameworks.framework import Flag, Framework, Tool
from agent.devserver.frameworks.vite import OPEN, PING

ASTRO: Final = Framework(
    name="astro",
    title="Astro",
    packages=("astro",),
    tools=(
        Tool(
            program="astro",
            verbs=("dev",),
            dropped=(Flag(("--port",), "needed"), Flag(("--host",), "optional"), OPEN),
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
