"""Where the gateway's pages lead: to a path of this preview and nothing else. Pure.

Addresses are what anybody can write: none may lead to another site or run as a script, and the asleep page not back to
the gateway's own pages.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from agent.gateway.policy.routing import PREFIX, Request

HOME = "/"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OWN = PREFIX.strip("/")
# What a reference may hold as it is (RFC 3986, 2), and "%": what is encoded stays as it was encoded.
_SAFE = "/?#[]@!$&'()*+,;=:%-._~"


def landing(target: str) -> str:
    """The `to` of `/__preview/asleep?to=…` as it may stand in a Location, where it is a path of this origin; or "/"."""
    try:
        to = parse_qs(urlsplit(target).query).get("to", [HOME])[0]
    except ValueError:
        return HOME
    path = re.split("[?#]", to, maxsplit=1)[0]
    if not to.startswith("/") or to.startswith("//") or "\\" in path or _CONTROL.search(to):
        return HOME
    if any(names[:1] == (_OWN,) for names in Request("GET", path).readings):
        return HOME
    return quote(to, safe=_SAFE)


def itself(target: str) -> str:
    """A reference from the page at `target` to itself, as plain ASCII. It is relative, so that "//elsewhere" stays a
    path, and names no fragment: to one, a browser without scripts would only scroll on the page that it has.
    """
    path, mark, query = target.partition("#")[0].partition("?")
    return quote(f"./{path.rpartition('/')[2]}{mark}{query}", safe=_SAFE, encoding="latin-1")
