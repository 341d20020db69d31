"""A folder that comes back right after it was deleted waits a moment; nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sync.deleted_folders import SETTLE_SECONDS, DeletedFolders

paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


def test_a_file_in_a_folder_that_was_just_deleted_waits_for_the_rest_of_the_time() -> None:
    known = DeletedFolders().after(["app/about/page.tsx"], {"app/page.tsx"}, now=10.0)
    assert known.pause(["app/about/page.tsx"], now=10.1) == pytest.approx(SETTLE_SECONDS - 0.1)
    assert known.pause(["app/about/team/page.tsx"], now=10.1) == pytest.approx(SETTLE_SECONDS - 0.1)
    assert known.pause(["app/about/page.tsx"], now=10.0 + SETTLE_SECONDS) == 0.0


def test_a_folder_that_kept_a_file_was_not_deleted() -> None:
    known = DeletedFolders().after(["app/about/page.tsx"], {"app/about/team.tsx"}, now=10.0)
    assert known.pause(["app/about/page.tsx"], now=10.0) == 0.0


def test_a_folder_deleted_by_an_earlier_set_is_still_known_after_another_one() -> None:
    known = DeletedFolders().after(["a/x"], (), now=10.0).after(["b/x"], (), now=10.2)
    assert known.pause(["a/y"], now=10.2) > 0
    assert DeletedFolders().after(["a/x"], (), now=10.0).after((), (), now=11.0) == DeletedFolders({})


@given(deleted=st.sets(paths), left=st.sets(paths), written=st.sets(paths), after=st.floats(0, 2))
def test_a_pause_is_never_longer_than_the_settling_time_and_never_without_a_folder_that_comes_back(
    deleted: set[str], left: set[str], written: set[str], after: float
) -> None:
    known = DeletedFolders().after(deleted, left, now=5.0)
    pause = known.pause(written, now=5.0 + after)
    assert 0.0 <= pause <= SETTLE_SECONDS + 1e-9
    if pause:
        assert any(not any(kept.startswith(f"{folder}/") for kept in left) for folder in known.deleted_at)
        assert any(path.startswith(f"{folder}/") for path in written for folder in known.deleted_at)
