"""Vite 3 to 8, whatever it compiles (React, Vue, Svelte, Solid, plain), and frameworks that run Vite's server. Pure.

From its source (vite/src/node/server/index.ts, middlewares/hostCheck.ts): a request with an unknown Host is refused;
the first middleware answers `Accept: text/x-vite-ping` with 204. It restarts itself when its configuration or a .env
file changes or is deleted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.devserver.frameworks import vite_lines
from agent.devserver.frameworks.framework import DroppedFlag, Framework, LivenessProbe, ServerProgram

OPEN: Final = DroppedFlag(("--open", "-o"), "optional", "no browser is opened on this machine, so {flag} is left out")
HTTPS: Final = DroppedFlag(("--https",), "optional", "the preview is served over https anyway, so {flag} is left out")

PING: Final = LivenessProbe("/", {"Accept": "text/x-vite-ping"})

TOOL: Final = ServerProgram(
    program="vite",
    verbs=("dev", "serve"),
    bare=True,
    dropped=(
        DroppedFlag(("--port",), "needed"),
        DroppedFlag(("--host",), "optional"),
        DroppedFlag(("--strictPort",)),
        OPEN,
        HTTPS,
    ),
    added=("--port", "{port}", "--strictPort", "--host", "127.0.0.1"),
)

VITE: Final = Framework(
    name="vite",
    title="Vite",
    packages=("vite", "rolldown-vite"),
    tools=(
        TOOL,
        # Frameworks that bring their own command and run Vite's server with it.
        ServerProgram("react-router", ("dev",), dropped=TOOL.dropped, added=TOOL.added),
        ServerProgram("remix", ("vite:dev",), dropped=TOOL.dropped, added=TOOL.added),
        ServerProgram("svelte-kit", ("dev",), dropped=TOOL.dropped, added=("--port", "{port}", "--host", "127.0.0.1")),
    ),
    liveness=PING,
    lines=vite_lines.read,
    config=("vite.config.",),
    env="all",
    cache=("node_modules", ".vite"),
    base=("base", "basename"),
    checks_host=True,
)
SVELTE_KIT: Final = replace(
    VITE,
    name="sveltekit",
    title="SvelteKit",
    packages=("@sveltejs/kit",),
    config=("vite.config.", "svelte.config."),
    checks_origin=True,
)
