"""No path of the machine in a sentence for a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.app_paths import HERE, relative_to

SHORTEN = relative_to(["/workspace", "/srv/preview/workspace"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Cannot find module '/workspace/lib/db.ts'", "Cannot find module 'lib/db.ts'"),
        ("- /srv/preview/workspace/next.config.js", "- next.config.js"),
        ("at file:///srv/preview/workspace/server.mjs:3:28", "at server.mjs:3:28"),
        ("at Page (/workspace/app/page.tsx:1:2)", "at Page (app/page.tsx:1:2)"),
        ("open '/workspace/.env'", "open '.env'"),
        ("cwd=/workspace", f"cwd={HERE}"),
        ("in /workspace: no such file", f"in {HERE}: no such file"),
        ("in /workspace/.", "in ."),
        ("/workspace-old/a /srv/workspace/a https://host/workspace/a", None),
        ("/workspaces/a", None),
        ("webpack-internal:///(rsc)/./app/page.tsx", None),
    ],
)
def test_the_apps_own_folder_goes_and_nothing_else(text: str, shown: str | None) -> None:
    assert SHORTEN(text) == (text if shown is None else shown)


def test_a_folder_with_a_space_is_known_in_an_address_too() -> None:
    shorten = relative_to(["/my work"])
    assert shorten("file:///my%20work/a.ts and /my work/b.ts") == "a.ts and b.ts"


def test_without_a_folder_nothing_is_changed() -> None:
    assert relative_to(["/", ""])("/app/page.tsx") == "/app/page.tsx"


@given(st.text(alphabet="/workspac.te:' \n-%2f", max_size=60))
def test_no_path_of_the_folder_is_left(text: str) -> None:
    shown = SHORTEN(f" /workspace/{text}")
    assert not shown.startswith(" /workspace/")
