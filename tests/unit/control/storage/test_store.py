import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.errors import Conflict, NotFound, RequestError, TooLarge
from control.files.entries import Upsert, upsert
from control.storage import store as module
from control.storage.head import SetHead
from control.storage.schema import MIGRATIONS
from control.storage.snapshot import WHOLE
from control.storage.store import Store, WriteResult

A = "demo"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with_app = Store(tmp_path / "sub" / "control.db")
    with_app.add_app(A)
    yield with_app
    with_app.close()


def put(store: Store, *deleted: str, **files: str) -> WriteResult:
    return store.write(A, [upsert(path.replace("__", "/"), text.encode()) for path, text in files.items()], deleted)


def delta(store: Store, base: int) -> tuple[dict[str, str | None], set[str]]:
    with store.snapshot() as snapshot:
        return {row.path: row.text for row in snapshot.rows(A, base)}, set(snapshot.deleted(A, base))


def head(store: Store) -> SetHead:
    with store.snapshot() as snapshot:
        found = snapshot.head(A)
        assert found is not None
        return found


def test_a_call_is_one_revision_and_counts_what_it_did(store: Store) -> None:
    written = put(store, a="1", b="2")
    assert (written.head.revision, written.changed, written.deleted) == (1, 2, 0)
    written = put(store, "a", "never", b="2", c="3")
    assert (written.head.revision, written.changed, written.deleted) == (2, 1, 1)
    assert head(store) == written.head
    assert delta(store, WHOLE)[0] == {"b": "2", "c": "3"}


def test_what_changes_nothing_is_no_revision(store: Store) -> None:
    put(store, a="1")
    published = []
    store.committed = lambda *said: published.append(said)
    assert put(store, "never", a="1").head.revision == 1
    assert published == []
    put(store, a="2")
    assert published == [(A, 2)]


def test_another_type_is_a_change_and_none_given_keeps_the_one_there_is(store: Store) -> None:
    store.write(A, [upsert("a.ts", b"", "module")], [])
    assert put(store, **{"a.ts": ""}).changed == 0
    assert store.write(A, [upsert("a.ts", b"", "ts")], []).changed == 1


def test_a_delta_is_what_changed_and_what_went_since_its_base(store: Store) -> None:
    put(store, a="1", b="1", c="1")
    put(store, "a")
    put(store, "b", c="2")
    put(store, a="3")
    assert delta(store, 3) == ({"a": "3"}, set())
    assert delta(store, 2) == ({"a": "3", "c": "2"}, {"b"})
    assert delta(store, 1) == ({"a": "3", "c": "2"}, {"b"})


@pytest.mark.parametrize("bad", ["a__b", "x"])
def test_a_path_that_is_a_folder_of_a_stored_one_or_below_a_stored_file_is_refused_whole(
    store: Store, bad: str
) -> None:
    put(store, a="1", x__y="1")
    before = head(store), delta(store, WHOLE)
    with pytest.raises(Conflict, match=r"'a/b' cannot be stored: 'a' is a file|'x' cannot be a file: .* of 'x/y'"):
        put(store, fine="1", **{bad: "2"})
    assert (head(store), delta(store, WHOLE)) == before


def test_a_file_and_a_folder_swap_in_one_call(store: Store) -> None:
    put(store, a="1")
    put(store, "a", a__b="2")
    put(store, "a/b", a="3")
    assert delta(store, 1) == ({"a": "3"}, {"a/b"})


def test_the_neighbours_of_a_folders_name_are_not_in_it(store: Store) -> None:
    put(store, **{"a-b": "", "a.b": "", "a0": "", "ab": ""})
    put(store, a="1")
    with store.snapshot() as snapshot:
        assert set(snapshot.hashes(A, "a")) == {"a"}


def test_an_iterable_that_fails_half_way_leaves_nothing(store: Store) -> None:
    def files() -> Iterator[Upsert]:
        yield upsert("a", b"1")
        raise OSError

    with pytest.raises(OSError):
        store.write(A, files(), [])
    assert head(store).revision == 0
    assert put(store, a="1").head.revision == 1


def test_a_check_that_refuses_leaves_all_as_it_was(store: Store) -> None:
    def check(current: SetHead) -> None:
        raise Conflict(current.tag)

    with pytest.raises(Conflict):
        store.write(A, [upsert("a", b"")], [], check)
    assert head(store).revision == 0


def test_the_limits_hold_for_the_set_as_it_would_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    monkeypatch.setattr(module, "MAX_SET_BYTES", 10)
    put(store, a="12345", b="12345")
    with pytest.raises(TooLarge, match="3 files; at most 2"):
        put(store, c="")
    with pytest.raises(TooLarge, match="11 bytes; at most 10"):
        put(store, a="123456")
    put(store, "a", c="12345")
    put(store, b="")


def test_old_tombstones_go_and_with_them_the_bases_that_would_need_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_REVISIONS", 3)
    put(store, a="1", b="1")
    put(store, "a")
    for number in range(2):
        put(store, b=f"more {number}")
    assert head(store).floor == 0
    put(store, b="last")
    assert (head(store).revision, head(store).floor) == (5, 2)
    assert delta(store, 2) == ({"b": "last"}, set())


def test_a_view_keeps_its_moment_while_the_set_changes(store: Store) -> None:
    put(store, a="1", b="1")
    with store.long_snapshot() as snapshot:
        moment = snapshot.head(A)
        put(store, "a", b="2")
        assert {row.path: row.text for row in snapshot.rows(A, WHOLE)} == {"a": "1", "b": "1"}
        assert snapshot.head(A) == moment != head(store)
    assert delta(store, WHOLE)[0] == {"b": "2"}


def test_the_delta_of_one_file_does_not_read_the_table(store: Store) -> None:
    asked: list[str] = []
    with store.snapshot() as snapshot:
        store._reader.set_trace_callback(asked.append)
        snapshot.is_small(A, 4, files=9, size=9)
        assert [*snapshot.rows(A, 4), *snapshot.deleted(A, 4)] == []
        store._reader.set_trace_callback(None)
        plans = [str(store._reader.execute("EXPLAIN QUERY PLAN " + sql).fetchall()) for sql in asked]
    assert len(plans) == 4
    assert all("(app_id=? AND revision>?)" in plan for plan in plans)
    assert not any("ORDER BY" in plan for plan in plans)
    assert "COVERING INDEX files_by_revision" in plans[0]


def test_only_text_counts_for_whether_an_answer_is_small(store: Store) -> None:
    store.write(A, [upsert("a.png", b"\xff" * 1_000), upsert("a.txt", b"12345")], [])
    with store.snapshot() as snapshot:
        assert snapshot.is_small(A, WHOLE, files=2, size=5)
        assert not snapshot.is_small(A, WHOLE, files=1, size=5)
        assert not snapshot.is_small(A, WHOLE, files=2, size=4)
        assert snapshot.is_small(A, 1, files=0, size=0)
    store.write(A, [], ["a.png"])
    with store.snapshot() as snapshot:
        assert not snapshot.is_small(A, 1, files=0, size=0)


def test_a_database_made_anew_has_other_tags(tmp_path: Path) -> None:
    tags = set()
    for name in ("one", "two"):
        made = Store(tmp_path / name)
        made.add_app(A)
        tags.add(head(made).tag)
        made.close()
    assert len(tags) == 2


def test_an_app_is_made_once_and_a_key_opens_one(store: Store) -> None:
    assert not store.add_app(A)
    assert store.add_app("other")
    store.add_key(A, "hash")
    store.add_key(A, "hash")
    with pytest.raises(Conflict):
        store.add_key("other", "hash")
    with store.snapshot() as snapshot:
        assert snapshot.app_of_key("hash") == A
        assert snapshot.app_of_key("none") is None


def test_an_app_that_is_not_there_is_not_written(store: Store) -> None:
    with pytest.raises(NotFound):
        store.write("nobody", [], [])


def test_only_the_newest_machines_reports_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MACHINES", 2)
    for machine in ("m1", "m2", "m3", "m2"):
        store.report(A, machine, machine.encode())
    with store.snapshot() as snapshot:
        assert {state for state, _ in snapshot.machines(A)} == {b"m2", b"m3"}


def test_a_change_after_a_report_is_as_durable_as_any(store: Store) -> None:
    store.report(A, "m", b"{}")
    put(store, a="1")
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_set_survives_and_a_newer_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    first = Store(path)
    first.add_app(A)
    put(first, a="1")
    first.close()
    second = Store(path)
    assert delta(second, WHOLE)[0] == {"a": "1"}
    second._writer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    second.close()
    with pytest.raises(sqlite3.DatabaseError, match="versions up to"):
        Store(path)


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    store = Store(tmp_path / "control.db")
    store.close()
    store.close()


def test_every_refusal_has_its_status() -> None:
    assert all(400 <= kind.status < 600 for kind in RequestError.__subclasses__())
