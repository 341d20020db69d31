"""Next.js 13 to 16, both bundlers, App and Pages Router. Pure.

Flags of `next dev` differ between versions, and so does the default bundler. So the author's flags are kept, and no
bundler is chosen here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from agent.devserver.frameworks.framework import DroppedFlag, Framework, HmrSocket, LivenessProbe, ServerProgram
from agent.devserver.nextjs import hmr_messages

_HTTPS: Final = "the preview is served over https anyway, so the dev server runs without {flag}"

TOOL: Final = ServerProgram(
    program="next",
    verbs=("dev",),
    bare=True,
    dropped=(
        DroppedFlag(("-p", "--port"), "needed"),
        DroppedFlag(("-H", "--hostname"), "needed"),
        DroppedFlag(("--experimental-https",), note=_HTTPS),
        DroppedFlag(("--experimental-https-key", "--experimental-https-cert", "--experimental-https-ca"), "needed"),
    ),
    added=("-p", "{port}", "-H", "127.0.0.1"),
    file="next/dist/bin/next",
)
STATUS: Final = "/__nextjs_server_status"
_LIVENESS: Final = LivenessProbe(STATUS, sign="executionId")
_LIVENESS_BEFORE_15_4: Final = LivenessProbe("/__nextjs_source-map")
_LIVENESS_BEFORE_15: Final = LivenessProbe("/__nextjs_original-stack-frame")
"""Without parameters Next answers both with 400, and neither compiles nor prints anything. For a path that it does not
know it would compile the not-found page.
"""

NEXT: Final = Framework(
    name="next",
    title="Next.js",
    packages=("next",),
    tools=(TOOL,),
    liveness=_LIVENESS,
    socket=HmrSocket(("/_next/hmr", "/_next/webpack-hmr"), hmr_messages.read),  # 16.4, and before
    config=("next.config.",),
    env="all but deleted",
    cache=(".next", "dev", "cache"),
    routes=("app", "pages", "src/app", "src/pages"),
    base=("basePath",),
)


def of_version(version: str | None) -> Framework:
    """Next as of `version`. `version` None: unknown."""
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", version or "")
    if numbers is None or int(numbers[1]) >= 16:
        return NEXT
    number = int(numbers[1]), int(numbers[2])
    old = replace(NEXT, cache=(".next", "cache"))
    if number >= (15, 4):
        return old
    return replace(old, liveness=_LIVENESS_BEFORE_15_4 if number >= (15, 0) else _LIVENESS_BEFORE_15)
