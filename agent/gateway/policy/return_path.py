"""Where the gateway's pages lead: only to a path of this preview. Pure.

Anybody can write an address. None may lead to another site or run as a script, and the asleep page must not lead back
to the gateway's own pages.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from agent.gateway.policy.request import PREFIX, Request

HOME = "/"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OWN = PREFIX.strip("/")
# Characters that a reference may contain unencoded (RFC 3986, 2), and "%", which keeps what is encoded already.
_SAFE = "/?#[]@!$&'()*+,;=:%-._~"


def return_target(target: str) -> str:
    """The `to` of `/__preview/asleep?to=…`, encoded for a Location field; "/" unless it is a path of this origin."""
    try:
        to = parse_qs(urlsplit(target).query).get("to", [HOME])[0]
    except ValueError:
        return HOME
    path = re.split("[?#]", to, maxsplit=1)[0]
    if not to.startswith("/") or to.startswith("//") or "\\" in path or _CONTROL.search(to):
        return HOME
    if any(names[:1] == (_OWN,) for names in Request("GET", path).path_variants):
        return HOME
    return quote(to, safe=_SAFE)


def self_reference(target: str) -> str:
    """A reference from the page at `target` to itself, in ASCII. It is relative, so that "//name" stays a path, and has
    no fragment, because a browser without scripts would only scroll to one instead of loading the page again.
    """
    path, mark, query = target.partition("#")[0].partition("?")
    return quote(f"./{path.rpartition('/')[2]}{mark}{query}", safe=_SAFE, encoding="latin-1")
