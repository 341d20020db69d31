"""Where the asleep page may lead."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.gateway.policy.return_path import return_target, self_reference

PARTS = st.sampled_from(["/", "\\", ".", "__preview", "?", "#", "a", ":", "@"])


def to(path: str) -> str:
    return return_target("/__preview/asleep?to=" + quote(path, safe=""))


@pytest.mark.parametrize(
    "path", ["/", "/shop?from=editor&x=1#there", "/a%20b/%C3%BC?q=%2F%2F#%22", "/a+b?c=d+e", "/__previews", "/a//b"]
)
def test_a_path_of_this_preview_is_kept_as_it_is(path: str) -> None:
    assert to(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "about", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/a\\b"),
        *("https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/a\r\nSet-Cookie: b", "/\x00", "/\x85"),
        *("/__preview/asleep", "/__preview/asleep?to=/", "/./__preview/asleep", "/a/../__preview/x", "/%5f_preview/x"),
        *("/__PREVIEW/asleep", "/__preview"),
    ],
)
def test_anything_else_leads_home(path: str) -> None:
    assert to(path) == "/"


@pytest.mark.parametrize("target", ["/__preview/asleep", "/__preview/asleep?", "/__preview/asleep?too=/x"])
def test_no_word_of_it_leads_home(target: str) -> None:
    assert return_target(target) == "/"


def test_what_cannot_stand_in_a_header_is_encoded() -> None:
    assert to('/ü "<x>"?y= #é\\') == "/%C3%BC%20%22%3Cx%3E%22?y=%20#%C3%A9%5C"


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["/", "\\", ".", "__preview", "?", "#", "a", ":", "@"])).map("".join)
)
@example("/.//evil.example")
def test_nothing_leads_to_another_site_or_breaks_a_header(path: str) -> None:
    found = to(path)
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found
    assert urlsplit(urljoin("http://here.example/__preview/asleep", found)).netloc == "here.example"
    assert not found.startswith(("//", "/__preview/"))


@pytest.mark.parametrize(
    ("target", "reference"),
    [
        ("/", "./"),
        ("/shop?a=1&b", "./shop?a=1&b"),
        ("/a/b/?/c", "./?/c"),
        ("//evil.example", "./evil.example"),
        ("/javascript:alert(1)", "./javascript:alert(1)"),
        ("/x#y", "./x"),
        ('/Ã¼"', "./%C3%BC%22"),
    ],
)
def test_a_page_refers_to_itself_without_a_fragment(target: str, reference: str) -> None:
    assert self_reference(target) == reference
    assert urljoin(f"http://here.example{target}", reference).startswith("http://here.example/")


@given(st.text(max_size=60))
def test_no_target_makes_it_stumble(target: str) -> None:
    assert return_target("/__preview/asleep?" + target).startswith("/")
