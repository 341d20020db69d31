"""A View → the bytes of one page that asks nobody for anything: style, script and first state are in it.

Everything variable is escaped for the place it stands in, and a policy with a nonce of its own lets nothing run that
was not put here. Pages may be framed by anybody: being in the editor's iframe is its purpose.
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

from agent.gateway.pages.view import Step, View

RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    policy: str


def render(shown: View, *, elapsed: float, itself: str) -> Page:
    """`elapsed`: seconds since the wait began; the page counts on from there. `itself`: how it refers to itself, for
    browsers without scripts.
    """
    nonce = secrets.token_urlsafe(16)
    data = encode(shown, elapsed=elapsed)
    body = _template("failed.html" if shown.kind == "failed" else "waking.html").substitute(
        nonce=nonce,
        style=_text("page.css"),
        script=_text("page.js"),
        title=html.escape(shown.title),
        sentence=html.escape(shown.sentence),
        steps="\n".join(map(_step, shown.steps)),
        advice=html.escape(shown.advice),
        no_advice="" if shown.advice else "hidden",
        proof="\n".join(html.escape(line) for line in shown.proof),
        hidden="" if shown.proof else "hidden",
        # A script block ends at the first "</script", whatever it is part of.
        data=data.decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        retry=RETRY_SECONDS,
        itself=html.escape(itself),
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    return Page(body.encode("utf-8", "replace"), policy)


def render_asleep(to: str) -> Page:
    """The page that sleeps in the app's place, and leads to `to`. It may connect to nothing, not even to us."""
    nonce = secrets.token_urlsafe(16)
    body = _template("asleep.html").substitute(
        nonce=nonce, style=_text("page.css"), script=_text("asleep.js"), to=html.escape(to)
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Page(body.encode(), policy)


@cache
def script() -> tuple[bytes, bytes]:
    """What the app's pages get besides (injection.py), and its entity tag."""
    body = _text("shim.js").encode()
    return body, b'"%b"' % hashlib.sha256(body).hexdigest()[:16].encode()


def encode(shown: View, *, elapsed: float) -> bytes:
    """A View as the page's script reads it, on one line."""
    facts = dataclasses.asdict(shown) | {"elapsed": round(elapsed, 1)}
    return orjson.dumps(_sound(facts))


def _step(step: Step) -> str:
    return (
        f'<li id="{step.name}" data-state="{step.state}"><span class="mark" aria-hidden="true"></span>'
        f'<span class="label">{html.escape(step.label)}</span>'
        f'<span class="detail">{html.escape(step.detail)}</span></li>'
    )


def _sound(value: object) -> object:
    """Without half characters, which strangers' output may hold and JSON may not."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {key: _sound(of) for key, of in value.items()}
        case list() | tuple():
            return [_sound(of) for of in value]
        case _:
            return value


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text("utf-8")


@cache
def _template(name: str) -> Template:
    return Template(_text(name))
