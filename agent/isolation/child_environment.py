"""The environment variables of the app's processes: an allow-list, so that a new secret of the agent cannot leak. Pure.

The app's own variables come from its .env files. Not passed are: the agent's settings (above all API_KEY); PORT and
HOSTNAME, which are on the command line; NODE_ENV, which makes `next dev` misbehave; TERM, which would add colour codes;
and variables that mark an AI coding agent, because Next then writes AGENTS.md into the project.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.isolation.user import DevUser

RUN_MARK = "PREVIEW_AGENT_RUN"
"""Holds the random id of one run, which every descendant inherits. It proves that the agent may end a process."""

_PASSED = frozenset(
    {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "NODE_OPTIONS"},
)


def for_child(environ: Mapping[str, str], run: str, user: DevUser | None = None) -> dict[str, str]:
    """`user`: the user that the child runs as, if it is not the agent's own; HOME and TMPDIR are then that user's."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith("LC_")}
    own = {} if user is None else {"HOME": str(user.home), "TMPDIR": str(user.tmp)}
    return passed | own | {"NEXT_TELEMETRY_DISABLED": "1", RUN_MARK: run}
