"""A View → the bytes of one self-contained page: style, script and first state are in it, so it loads nothing.

Every variable text is escaped for its place, and a Content-Security-Policy with a fresh nonce lets only the page's own
script run. Any site may frame these pages, because the editor shows the preview in an iframe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

import orjson

from agent.gateway.pages.view import Milestone, View

RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class RenderedPage:
    body: bytes
    policy: str
    """The Content-Security-Policy that belongs to this body."""


def render(shown: View, *, elapsed: float, self_reference: str) -> RenderedPage:
    """The waking or the failed page. `elapsed`: seconds since the wait began, from which the page counts on;
    `self_reference`: the address that it reloads in browsers without scripts.
    """
    nonce = secrets.token_urlsafe(16)
    data = encode(shown, elapsed=elapsed)
    body = _template("failed.html" if shown.kind == "failed" else "waking.html").substitute(
        nonce=nonce,
        style=_asset("page.css"),
        script=_asset("page.js"),
        title=html.escape(shown.title),
        sentence=html.escape(shown.sentence),
        steps="\n".join(map(_milestone, shown.steps)),
        advice=html.escape(shown.advice),
        code=html.escape(shown.code),
        no_advice="" if shown.advice else "hidden",
        proof="\n".join(html.escape(line) for line in shown.proof),
        hidden="" if shown.proof else "hidden",
        # "</script" ends a script element wherever it stands, also in a JSON string.
        data=data.decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        retry=RETRY_SECONDS,
        self_reference=html.escape(self_reference),
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    return RenderedPage(body.encode("utf-8", "replace"), policy)


def render_asleep(to: str) -> RenderedPage:
    """The asleep page, which leads back to `to`. Its policy allows no connection: one would wake the machine."""
    nonce = secrets.token_urlsafe(16)
    body = _template("asleep.html").substitute(
        nonce=nonce, style=_asset("page.css"), script=_asset("asleep.js"), to=html.escape(to)
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return RenderedPage(body.encode(), policy)


@cache
def script() -> tuple[bytes, bytes]:
    """The script that is added to the app's pages (policy/script_injection.py), and its ETag."""
    body = _asset("shim.js").encode()
    return body, b'"%b"' % hashlib.sha256(body).hexdigest()[:16].encode()


def encode(shown: View, *, elapsed: float) -> bytes:
    """A View as the JSON that page.js reads, on one line."""
    facts = dataclasses.asdict(shown) | {"elapsed": round(elapsed, 1)}
    return orjson.dumps(_encodable(facts))


def _milestone(step: Milestone) -> str:
    return (
        f'<li id="{step.name}" data-state="{step.state}"><span class="mark" aria-hidden="true"></span>'
        f'<span class="label">{html.escape(step.label)}</span>'
        f'<span class="detail">{html.escape(step.detail)}</span></li>'
    )


def _encodable(value: object) -> object:
    """`value` without lone surrogates, which output of the app may contain and JSON may not."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {key: _encodable(of) for key, of in value.items()}
        case list() | tuple():
            return [_encodable(of) for of in value]
        case _:
            return value


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text("utf-8")


@cache
def _template(name: str) -> Template:
    return Template(_asset(name))
