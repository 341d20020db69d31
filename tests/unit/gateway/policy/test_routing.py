"""What is done about a request, and which requests show that somebody is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.policy.activity import AWAKE, classify
from agent.gateway.policy.request import Request
from agent.gateway.policy.routing import (
    Blocked,
    Decision,
    FailedPage,
    Forward,
    Hold,
    OwnEndpoint,
    Redirect,
    Unavailable,
    WakingPage,
    decide,
    is_blocked,
)
from agent.status import DevServerFacts, DevServerState, Failure, Snapshot, SyncFacts

NEW = Snapshot("app-1", "machine-1", "2026-01-01T00:00:00.000Z", "0.1.0")
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
PAGE = Request("GET", "/about?x=1", NAVIGATION)
FETCH = Request("GET", "/api/items", {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"})


def while_(state: DevServerState) -> Snapshot:
    return replace(NEW, dev_server=DevServerFacts(state=state))


@pytest.mark.parametrize(
    ("state", "page", "fetch"),
    [
        ("waiting", WakingPage, Unavailable),
        ("starting", WakingPage, Unavailable),
        ("ready", Forward, Forward),
        ("unresponsive", Forward, Forward),
        ("restarting", WakingPage, Hold),
        ("failed", FailedPage, Unavailable),
        ("stopping", WakingPage, Unavailable),
        ("stopped", WakingPage, Unavailable),
    ],
)
def test_every_state_of_the_dev_server_has_an_answer(
    state: DevServerState, page: type[Decision], fetch: type[Decision]
) -> None:
    assert isinstance(decide(PAGE, while_(state)), page)
    assert isinstance(decide(FETCH, while_(state)), fetch)


def test_a_person_who_opens_the_root_of_an_app_below_a_path_is_led_there() -> None:
    now = replace(NEW, dev_server=DevServerFacts(state="ready", start_path="/shop"))
    assert decide(Request("GET", "/?a=1", NAVIGATION), now) == Redirect("/shop")
    for other in (Request("GET", "/"), Request("POST", "/", NAVIGATION), Request("GET", "/shop", NAVIGATION), PAGE):
        assert decide(other, now) == Forward()
    assert decide(Request("GET", "/", NAVIGATION), while_("ready")) == Forward()


def test_a_second_start_is_waited_for_by_the_pages_of_the_first() -> None:
    again = replace(NEW, dev_server=DevServerFacts(state="starting", restarts=1))
    assert isinstance(decide(PAGE, again), WakingPage)
    assert isinstance(decide(FETCH, again), Hold)


@given(st.sampled_from(get_args(DevServerState)))
def test_a_stopping_agent_forwards_nothing(state: DevServerState) -> None:
    assert not isinstance(decide(PAGE, replace(while_(state), stopping=True)), Forward | Hold)


@pytest.mark.parametrize("code", ["unauthorized", "no_such_app"])
def test_a_backend_that_refuses_us_fails_the_page_only_while_there_is_no_app(code: str) -> None:
    failure = Failure(code, "no", "2026-01-01T00:00:00.000Z", 1, None)
    refused = replace(NEW, sync=SyncFacts(failure=failure))
    assert isinstance(decide(PAGE, refused), FailedPage)
    running = replace(while_("ready"), sync=SyncFacts(failure=failure))
    assert isinstance(decide(PAGE, running), Forward)
    unreachable = replace(NEW, sync=SyncFacts(failure=replace(failure, code="unreachable")))
    assert isinstance(decide(PAGE, unreachable), WakingPage)


@pytest.mark.parametrize("state", ["waiting", "ready", "restarting", "failed"])
def test_what_is_blocked_is_blocked_in_every_state(state: DevServerState) -> None:
    assert isinstance(decide(Request("POST", "/_next/mcp"), while_(state)), Blocked)


def test_the_gateways_own_endpoints() -> None:
    assert decide(Request("GET", "/__preview/events?path=/"), while_("ready")) == OwnEndpoint("events")
    assert decide(Request("GET", "/__preview/log"), while_("failed")) == OwnEndpoint("log")
    assert isinstance(decide(Request("GET", "/__preview/log"), while_("ready")), Blocked)
    assert isinstance(decide(Request("POST", "/__preview/events"), while_("waiting")), Blocked)
    assert isinstance(decide(Request("GET", "/__preview/events", upgrade=True), while_("waiting")), Blocked)


NEVER = (
    "/_next/mcp",
    "/_next/development/request-insights",
    "/__nextjs_restart_dev",
    "/__nextjs_launch-editor",
    "/__nextjs_attach-nodejs-inspector",
    "/__nextjs_source-map",
    "/__nextjs_server_status",
    "/__nextjs_something_new",
    "/__open-in-editor",
    "/__open-stack-frame-in-editor",
    "/__nuxt_devtools__/client",
    "/webpack-dev-server/invalidate",
)


SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda path: "/" + path,
    lambda path: path.upper(),
    lambda path: "/%2e%2e/." + path,
    lambda path: "".join(letter if letter == "/" else f"%{ord(letter):02x}" for letter in path),
    lambda path: quote(quote(path.replace("_", "%5f"))),
    lambda path: path.replace("/", "\\"),
    lambda path: path + "/",
    lambda path: "/base" + path,
    lambda path: "/_next/static/x/../../.." + path,
)


@given(
    st.sampled_from(NEVER),
    st.lists(st.sampled_from(SPELLINGS), max_size=3),
    st.sampled_from(["", "?x=/ok#/ok", "#", "?"]),
    st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
)
def test_no_spelling_reaches_what_is_for_developers_at_the_machine(
    path: str, spellings: list[Callable[[str], str]], behind: str, method: str
) -> None:
    target = path
    for spell in spellings:
        target = spell(target)
    assert is_blocked(Request(method, target + behind)), target


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/about"),
        ("GET", "/_next/hmr?id=x"),
        ("GET", "/_next/webpack-hmr"),
        ("GET", "/_next/static/chunks/a%5Bb%5D._.js"),
        ("GET", "/_next/image?url=%2F_next%2Fmcp"),
        ("GET", "/_next/data/development/index.json"),
        ("GET", "/docs/_next/static/chunks/main.js"),
        ("POST", "/__nextjs_original-stack-frames"),
        ("GET", "/__nextjs_font/geist-latin.woff2"),
        ("POST", "/__nextjs_devtools_config"),
        ("GET", "/blog/how-next-mcp-works"),
        ("GET", "/search?q=/_next/mcp"),
        ("GET", "/über/100%"),
        ("GET", "/@vite/client"),
        ("GET", "/@fs/workspace/src/main.tsx"),
        ("GET", "/src/App.tsx?t=1"),
        ("GET", "/docs/webpack-dev-server"),
    ],
)
def test_what_the_browser_needs_passes(method: str, path: str) -> None:
    assert not is_blocked(Request(method, path))


def test_nothing_is_written_below_next() -> None:
    assert is_blocked(Request("POST", "/_next/something-new"))
    assert not is_blocked(Request("GET", "/_next/something-new"))


@given(st.text(max_size=60), st.sampled_from(["GET", "POST"]))
def test_no_path_makes_the_decision_stumble(path: str, method: str) -> None:
    request = Request(method, "/" + path)
    decide(request, NEW)
    assert classify(request)


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("GET", "/", NAVIGATION, "navigation"),
        ("POST", "/form", NAVIGATION, "navigation"),
        ("GET", "/", {"accept": "text/html,*/*"}, "navigation"),
        ("GET", "/report.pdf", NAVIGATION, "navigation"),
        ("GET", "/api/x", {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, "app_request"),
        ("GET", "/about?_rsc=1", {"rsc": "1", "accept": "*/*"}, "app_request"),
        ("POST", "/", {"next-action": "abc", "sec-fetch-mode": "cors"}, "app_request"),
        ("GET", "/api/x", {"user-agent": "curl/8"}, "app_request"),
        ("GET", "/_next/data/development/a.json", {}, "app_request"),
        ("GET", "/about?_rsc=1", {"rsc": "1", "next-router-prefetch": "1"}, "asset"),
        ("GET", "/_next/static/chunks/a.js", {"sec-fetch-dest": "script"}, "asset"),
        ("GET", "/docs/_next/image?url=a", {}, "asset"),
        ("GET", "/logo", {"sec-fetch-dest": "image"}, "asset"),
        ("GET", "/favicon.ico", {}, "asset"),
        ("GET", "/_next/hmr?id=1", {}, "hmr"),
        ("GET", "/docs/_next/webpack-hmr", {}, "hmr"),
        ("GET", "/_next/static/webpack/1.hot-update.json", {}, "hmr"),
        ("POST", "/__nextjs_original-stack-frames", {"sec-fetch-mode": "cors"}, "dev_internal"),
        ("GET", "/__preview/events", {"accept": "text/event-stream"}, "dev_internal"),
        ("GET", "/@vite/client", {}, "asset"),
        ("GET", "/@id/__x00__plugin", {}, "asset"),
        ("GET", "/src/App.vue", {}, "asset"),
        ("GET", "/node_modules/.vite/deps/react.js?v=1", {}, "asset"),
        ("GET", "/", {"accept": "text/x-vite-ping", "sec-fetch-mode": "no-cors"}, "hmr"),
        ("HEAD", "/", {}, "probe"),
        ("GET", "/", {"accept": "text/html", "user-agent": "Slackbot-LinkExpanding 1.0"}, "probe"),
        ("GET", "/", {"accept": "text/html", "user-agent": "UptimeRobot/2.0"}, "probe"),
        ("GET", "/", {**NAVIGATION, "sec-purpose": "prefetch;prerender"}, "probe"),
        ("GET", "/", {**NAVIGATION, "x-preview-probe": "1"}, "probe"),
        ("GET", "/", {**NAVIGATION, "user-agent": "Mozilla/5.0 (Linux; CUBOT NOTE 20)"}, "navigation"),
    ],
)
def test_requests_and_their_classes(method: str, target: str, headers: dict[str, str], expected: str) -> None:
    assert classify(Request(method, target, headers)) == expected


def test_a_socket_counts_when_the_app_opens_it() -> None:
    assert classify(Request("GET", "/api/socket", {"sec-fetch-mode": "websocket"}, upgrade=True)) in AWAKE
    assert classify(Request("GET", "/_next/hmr", {"sec-fetch-mode": "websocket"}, upgrade=True)) not in AWAKE
    for protocol in ("vite-hmr", "vite-ping"):
        assert classify(Request("GET", "/?token=x", {"sec-websocket-protocol": protocol}, upgrade=True)) not in AWAKE
