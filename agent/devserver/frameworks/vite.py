"""Vite 3 to 8, whatever it compiles (React, Vue, Svelte, Solid, plain), and Astro, whose dev server is a Vite. Pure.

Facts of its source (vite/src/node/server/index.ts, middlewares/hostCheck.ts): a request whose Host it does not know is
refused; `Accept: text/x-vite-ping` is answered with 204 by the first middleware. It restarts itself when its
configuration or a .env file changes or goes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.devserver.frameworks import vite_lines
from agent.devserver.frameworks.framework import Flag, Framework, Liveness, Tool

OPEN: Final = Flag(("--open", "-o"), "optional", "no browser is opened on this machine, so {flag} is left out")
HTTPS: Final = Flag(("--https",), "optional", "the preview is served over https by itself: {flag} is left out")

PING: Final = Liveness("/", {"Accept": "text/x-vite-ping"})

TOOL: Final = Tool(
    program="vite",
    verbs=("dev", "serve"),
    bare=True,
    dropped=(Flag(("--port",), "needed"), Flag(("--host",), "optional"), Flag(("--strictPort",)), OPEN, HTTPS),
    added=("--port", "{port}", "--strictPort", "--host", "127.0.0.1"),
)

VITE: Final = Framework(
    name="vite",
    title="Vite",
    packages=("vite", "rolldown-vite"),
    tools=(
        TOOL,
        # Frameworks that bring their own command and run Vite's server with it.
        Tool("react-router", ("dev",), dropped=TOOL.dropped, added=TOOL.added),
        Tool("remix", ("vite:dev",), dropped=TOOL.dropped, added=TOOL.added),
        Tool("svelte-kit", ("dev",), dropped=TOOL.dropped, added=("--port", "{port}", "--host", "127.0.0.1")),
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
