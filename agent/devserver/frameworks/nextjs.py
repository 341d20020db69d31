"""Next.js 13 to 16, both bundlers, App and Pages Router. Pure.

Flags of `next dev` differ from version to version, and so does the default bundler: what the author wrote stays, and
no bundler is chosen here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from agent.devserver.frameworks.framework import Flag, Framework, Liveness, Socket, Tool
from agent.devserver.nextjs import hmr_messages

_HTTPS: Final = "the preview is served over https by itself, so the dev server runs without {flag}"

TOOL: Final = Tool(
    program="next",
    verbs=("dev",),
    bare=True,
    dropped=(
        Flag(("-p", "--port"), "needed"),
        Flag(("-H", "--hostname"), "needed"),
        Flag(("--experimental-https",), note=_HTTPS),
        Flag(("--experimental-https-key", "--experimental-https-cert", "--experimental-https-ca"), "needed"),
    ),
    added=("-p", "{port}", "-H", "127.0.0.1"),
    file="next/dist/bin/next",
)
STATUS: Final = "/__nextjs_server_status"
_LIVENESS: Final = Liveness(STATUS, sign="executionId")
_LIVENESS_BEFORE_15_4: Final = Liveness("/__nextjs_source-map")
_LIVENESS_BEFORE_15: Final = Liveness("/__nextjs_original-stack-frame")
"""Both are answered with 400 where the question is empty, and make Next neither compile nor print anything. A path that
it does not know makes it compile the not-found page.
"""

NEXT: Final = Framework(
    name="next",
    title="Next.js",
    packages=("next",),
    tools=(TOOL,),
    liveness=_LIVENESS,
    socket=Socket(("/_next/hmr", "/_next/webpack-hmr"), hmr_messages.read),  # 16.4, and before
    config=("next.config.",),
    env="all but deleted",
    cache=(".next", "dev", "cache"),
    routes=("app", "pages", "src/app", "src/pages"),
    base=("basePath",),
)


def of_version(version: str | None) -> Framework:
    """Next as it is in `version`; None where that is not known."""
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", version or "")
    if numbers is None or int(numbers[1]) >= 16:
        return NEXT
    number = int(numbers[1]), int(numbers[2])
    old = replace(NEXT, cache=(".next", "cache"))
    if number >= (15, 4):
        return old
    return replace(old, liveness=_LIVENESS_BEFORE_15_4 if number >= (15, 0) else _LIVENESS_BEFORE_15)
