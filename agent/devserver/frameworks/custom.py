"""Dev servers of other frameworks, and servers that the app brings itself. Pure.

Only their port, their responses and their output are used. A program here only says how to pass the port and address.
Other frameworks' dev servers check the Host of requests, as those of webpack, Angular and Nuxt do; a server that the
app brings itself gets the Host that the browser sent.
"""

from __future__ import annotations

from typing import Final

from agent.devserver.frameworks.framework import DroppedFlag, Framework, LivenessProbe, ServerProgram
from agent.devserver.frameworks.vite import HTTPS, OPEN

_PORT: Final = DroppedFlag(("--port", "-p"), "needed")
_HOST: Final = DroppedFlag(("--host",), "optional")
_ADDED: Final = ("--port", "{port}", "--host", "127.0.0.1")
_BY_ENVIRONMENT: Final = {"PORT": "{port}", "HOST": "127.0.0.1", "BROWSER": "none"}
_DROPPED: Final = (_PORT, _HOST, OPEN, HTTPS)


def _usual(program: str, *verbs: str, bare: bool = False) -> ServerProgram:
    return ServerProgram(program, verbs, bare, _DROPPED, _ADDED)


TOOLS: Final = (
    ServerProgram(
        "nuxt",
        ("dev",),
        dropped=(*_DROPPED, DroppedFlag(("-h",), "optional"), DroppedFlag(("--public", "--qr"))),
        added=_ADDED,
    ),
    ServerProgram(
        "nuxi",
        ("dev",),
        dropped=(*_DROPPED, DroppedFlag(("-h",), "optional"), DroppedFlag(("--public", "--qr"))),
        added=_ADDED,
    ),
    ServerProgram("ng", ("serve", "dev", "s"), dropped=(*_DROPPED, DroppedFlag(("--ssl",))), added=_ADDED),
    ServerProgram(
        "gatsby",
        ("develop",),
        dropped=(_PORT, DroppedFlag(("-H", "--host"), "needed"), DroppedFlag(("-o", "--open"), note=OPEN.note), HTTPS),
        added=_ADDED,
    ),
    ServerProgram("react-scripts", ("start",), variables=_BY_ENVIRONMENT),
    ServerProgram("craco", ("start",), variables=_BY_ENVIRONMENT),
    ServerProgram("umi", ("dev",), variables=_BY_ENVIRONMENT),
    ServerProgram("remix", ("dev",), dropped=(_PORT,), variables=_BY_ENVIRONMENT),
    ServerProgram("remix-serve", bare=True, variables=_BY_ENVIRONMENT),
    _usual("parcel", "serve", bare=True),
    ServerProgram("webpack", ("serve", "server"), dropped=_DROPPED, added=_ADDED),
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
    ServerProgram("eleventy", bare=True, dropped=(DroppedFlag(("--port",), "needed"),), added=("--port", "{port}")),
    ServerProgram(
        "http-server",
        bare=True,
        dropped=(
            DroppedFlag(("-p", "--port"), "needed"),
            DroppedFlag(("-a",), "needed"),
            DroppedFlag(("-o",), note=OPEN.note),
        ),
        added=("-p", "{port}", "-a", "127.0.0.1"),
    ),
    ServerProgram(
        "serve",
        bare=True,
        dropped=(DroppedFlag(("-l", "--listen", "-p"), "needed"),),
        added=("-l", "tcp://127.0.0.1:{port}"),
    ),
)

KNOWN_TOOL: Final = Framework(
    name="custom",
    title="another framework",
    packages=("nuxt", "@angular/cli", "gatsby", "react-scripts", "@vue/cli-service", "parcel", "@docusaurus/core"),
    tools=TOOLS,
    liveness=LivenessProbe(),
    checks_host=True,
    variables={"NG_CLI_ANALYTICS": "false", "NUXT_TELEMETRY_DISABLED": "1", "GATSBY_TELEMETRY_DISABLED": "1"},
)
OWN_SERVER: Final = Framework(
    name="custom", title="a server of its own", packages=(), tools=(), liveness=LivenessProbe()
)
OWN_SERVER_VARIABLES: Final = {"PORT": "{port}", "HOST": "127.0.0.1", "HOSTNAME": "127.0.0.1"}
"""The environment of a server that the app brings itself: the only way to pass it the port."""
