"""Which variables the dev server gets: an allow-list, so that a new secret of the agent is never a leak. Pure.

The app's own variables come from its .env files. Not passed, each for a reason: the agent's settings (API_KEY above
all); PORT and HOSTNAME, which the command line says; NODE_ENV, which makes `next dev` misbehave when it is set;
TERM, which invites colours; whatever marks an AI coding agent, since Next writes AGENTS.md into a project where it
finds one.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.isolation.user import DevUser

RUN_MARK = "PREVIEW_AGENT_RUN"
"""Carries the random id of one start to every descendant: the proof that a process is ours to end."""

_PASSED = frozenset(
    {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "NODE_OPTIONS"},
)


def for_child(environ: Mapping[str, str], run: str, user: DevUser | None = None) -> dict[str, str]:
    """`user`: who the child runs as where that is not us; then HOME and TMPDIR are that user's own."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith("LC_")}
    own = {} if user is None else {"HOME": str(user.home), "TMPDIR": str(user.tmp)}
    return passed | own | {"NEXT_TELEMETRY_DISABLED": "1", RUN_MARK: run}
