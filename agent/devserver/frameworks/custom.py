"""What is run without being understood: other frameworks' commands, and servers that the app brings itself. Pure.

Of these the port, an answer and the output are what is known. A tool here says only how its port and its address are
given. Its own dev server checks the Host of what it is asked, as those of webpack, Angular and Nuxt do; a server of the
app's own is asked with the Host that the browser sent.
"""

from __future__ import annotations

from typing import Final

from agent.devserver.frameworks.framework import Flag, Framework, Liveness, Tool
from agent.devserver.frameworks.vite import HTTPS, OPEN

_PORT: Final = Flag(("--port", "-p"), "needed")
_HOST: Final = Flag(("--host",), "optional")
_ADDED: Final = ("--port", "{port}", "--host", "127.0.0.1")
_BY_ENVIRONMENT: Final = {"PORT": "{port}", "HOST": "127.0.0.1", "BROWSER": "none"}
_DROPPED: Final = (_PORT, _HOST, OPEN, HTTPS)


def _usual(program: str, *verbs: str, bare: bool = False) -> Tool:
    return Tool(program, verbs, bare, _DROPPED, _ADDED)


TOOLS: Final = (
    Tool("nuxt", ("dev",), dropped=(*_DROPPED, Flag(("-h",), "optional"), Flag(("--public", "--qr"))), added=_ADDED),
    Tool("nuxi", ("dev",), dropped=(*_DROPPED, Flag(("-h",), "optional"), Flag(("--public", "--qr"))), added=_ADDED),
    Tool("ng", ("serve", "dev", "s"), dropped=(*_DROPPED, Flag(("--ssl",))), added=_ADDED),
    Tool(
        "gatsby",
        ("develop",),
        dropped=(_PORT, Flag(("-H", "--host"), "needed"), Flag(("-o", "--open"), note=OPEN.note), HTTPS),
        added=_ADDED,
    ),
    Tool("react-scripts", ("start",), variables=_BY_ENVIRONMENT),
    Tool("craco", ("start",), variables=_BY_ENVIRONMENT),
    Tool("umi", ("dev",), variables=_BY_ENVIRONMENT),
    Tool("remix", ("dev",), dropped=(_PORT,), variables=_BY_ENVIRONMENT),
    Tool("remix-serve", bare=True, variables=_BY_ENVIRONMENT),
    _usual("parcel", "serve", bare=True),
    Tool("webpack", ("serve", "server"), dropped=_DROPPED, added=_ADDED),
    _usual("webpack-dev-server", bare=True),
    _usual("vue-cli-service", "serve"),
    _usual("vinxi", "dev"),
    _usual("rsbuild", "dev", bare=True),
    _usual("rspack", "serve", "dev"),
    _usual("vitepress", "dev", bare=True),
    _usual("docusaurus", "start"),
    _usual("storybook", "dev"),
    _usual("waku", "dev"),
    _usual("quasar", "dev"),
    Tool("eleventy", bare=True, dropped=(Flag(("--port",), "needed"),), added=("--port", "{port}")),
    Tool(
        "http-server",
        bare=True,
        dropped=(Flag(("-p", "--port"), "needed"), Flag(("-a",), "needed"), Flag(("-o",), note=OPEN.note)),
        added=("-p", "{port}", "-a", "127.0.0.1"),
    ),
    Tool(
        "serve", bare=True, dropped=(Flag(("-l", "--listen", "-p"), "needed"),), added=("-l", "tcp://127.0.0.1:{port}")
    ),
)

KNOWN_TOOL: Final = Framework(
    name="custom",
    title="another framework",
    packages=("nuxt", "@angular/cli", "gatsby", "react-scripts", "@vue/cli-service", "parcel", "@docusaurus/core"),
    tools=TOOLS,
    liveness=Liveness(),
    checks_host=True,
    variables={"NG_CLI_ANALYTICS": "false", "NUXT_TELEMETRY_DISABLED": "1", "GATSBY_TELEMETRY_DISABLED": "1"},
)
OWN_SERVER: Final = Framework(name="custom", title="a server of its own", packages=(), tools=(), liveness=Liveness())
OWN_SERVER_VARIABLES: Final = {"PORT": "{port}", "HOST": "127.0.0.1", "HOSTNAME": "127.0.0.1"}
"""What a server that the app brings itself is told: nothing else says on which port it is looked for."""
