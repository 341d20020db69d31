"""What package.json and the lock files ask for, and when it is installed."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.package_files import LOCKS, concerns
from agent.packages.adoption import matches_npm_lock
from agent.packages.manifest import InvalidManifest
from agent.packages.two_phase_plan import TwoPhasePlan, replaced_packages, two_phase_plan
from agent.packages.wanted import WantedPackages, is_install_input, wanted_packages

BASE: dict[str, Any] = {"dependencies": {"next": "16.4.5", "react": "19.3.1"}, "devDependencies": {"typescript": "5"}}


def wanted(said: dict[str, Any], *locks: str, managed: frozenset[str] | None = None) -> WantedPackages:
    files = {"package.json": json.dumps(said).encode(), **dict.fromkeys(locks, b"1")}
    found = wanted_packages(files, files.keys() if managed is None else managed)
    assert found is not None
    return found


def of(*names: str) -> WantedPackages:
    return wanted({"dependencies": dict.fromkeys(names, "1")})


SECTIONS = st.sampled_from(["dependencies", "devDependencies", "optionalDependencies", "overrides"])
PACKAGES = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["1.0.0", "^2", "latest"]) for name in ("a", "b", "@c/d")}
)


@given(st.dictionaries(SECTIONS, PACKAGES), st.randoms(use_true_random=False), st.integers(0, 4))
def test_order_and_whitespace_and_what_no_installer_reads_do_not_count(
    said: dict[str, dict[str, str]], chance: random.Random, indent: int
) -> None:
    shuffled = {name: dict(chance.sample(list(part.items()), len(part))) for name, part in said.items()}
    shuffled = dict(chance.sample(list(shuffled.items()), len(shuffled)))
    other = {"name": "x", "version": "2", "scripts": {"dev": "next"}, **shuffled, "engines": {"node": "20"}}
    data = json.dumps(other, indent=indent).encode()

    again = wanted_packages({"package.json": b"\xef\xbb\xbf" + data}, set())

    assert again is not None
    assert again.digest == wanted(said).digest


@given(st.dictionaries(SECTIONS, PACKAGES), st.dictionaries(SECTIONS, PACKAGES))
def test_two_that_ask_for_different_packages_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (wanted(one).digest == wanted(other).digest) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"a": "2"}},
        {"resolutions": {"a": "2"}},
        {"packageManager": "npm@11.0.0"},
        {"pnpm": {"onlyBuiltDependencies": ["a"]}},
        {"trustedDependencies": ["a"]},
        {"workspaces": ["packages/*"]},
        {"peerDependencies": {"a": "1"}},
    ],
)
def test_every_section_that_an_installer_reads_counts(change: dict[str, Any]) -> None:
    assert wanted(BASE | change).digest != wanted(BASE).digest


@pytest.mark.parametrize("name", [*LOCKS, ".npmrc", "pnpm-workspace.yaml", "bunfig.toml"])
def test_a_lock_file_and_a_managers_settings_count(name: str) -> None:
    def digest(data: bytes) -> str:
        found = wanted_packages({"package.json": json.dumps(BASE).encode(), name: data}, {name})
        assert found is not None
        return found.digest

    assert concerns(name)
    assert digest(b"1") != digest(b"2")


@pytest.mark.parametrize(
    ("locks", "manager"),
    [
        ((), "npm"),
        (("package-lock.json",), "npm"),
        (("npm-shrinkwrap.json",), "npm"),
        (("pnpm-lock.yaml",), "pnpm"),
        (("bun.lock",), "bun"),
        (("bun.lockb",), "bun"),
        (("yarn.lock",), "yarn"),
    ],
)
def test_the_lock_file_names_the_manager(locks: tuple[str, ...], manager: str) -> None:
    found = wanted(BASE, *locks)

    assert (found.manager, found.notes) == (manager, ())


def test_of_several_lock_files_one_is_used_and_the_owner_hears_of_it() -> None:
    found = wanted(BASE, "package-lock.json", "pnpm-lock.yaml")

    assert found.manager == "pnpm"
    assert found.notes[0].message == (
        "there are several lock files (pnpm-lock.yaml, package-lock.json): pnpm-lock.yaml is used; delete the others"
    )
    named = wanted(BASE | {"packageManager": "npm@11.1.0"}, "package-lock.json", "pnpm-lock.yaml")
    assert named.manager == "npm", "packageManager breaks the tie"


def test_a_lock_file_that_the_template_left_does_not_count_beside_the_apps_own() -> None:
    own = frozenset({"package.json", "package-lock.json"})

    found = wanted(BASE, "package-lock.json", "bun.lock", managed=own)

    assert (found.manager, found.notes) == ("npm", ())
    assert wanted(BASE, "package-lock.json", managed=frozenset({"package.json"})).manager == "npm"


@pytest.mark.parametrize("pattern", ["apps/*", "./apps/*", "apps/web"])
def test_a_workspace_member_that_yarn_1_ignores_is_named(pattern: str) -> None:
    def notes(member: dict[str, Any], manager: str = "yarn@1.22.22") -> tuple[str, ...]:
        root = {"private": True, "packageManager": manager, "workspaces": [pattern]}
        files = {"package.json": root, "apps/web/package.json": member, "apps/web/lib/package.json": {"name": "lib"}}
        found = wanted_packages({path: json.dumps(each).encode() for path, each in files.items()}, files.keys())
        return () if found is None else tuple(f"{note.file}: {note.message}" for note in found.notes)

    (ignored,) = notes({"name": "web"})
    assert ignored.startswith("apps/web/package.json: yarn 1 ignores the workspace apps/web ")
    assert notes({"name": "web", "version": "0.0.0"}) == ()
    assert not any("ignores" in note for note in notes({"name": "web"}, "yarn@4.9.1"))


def test_without_a_lock_file_package_json_may_name_the_manager() -> None:
    assert wanted(BASE | {"packageManager": "pnpm@9.1.0+sha512.ab"}).manager == "pnpm"


@pytest.mark.parametrize(
    ("data", "message", "line"),
    [
        (
            b'{\n  "dependencies": {,}\n}',
            'package.json line 2, column 20: a comma after "{"\n  "dependencies": {,}\n                   ^',
            2,
        ),
        (b"[]", "package.json holds a list (it takes an object)", 1),
        (b"\xff", "package.json line 1, column 1: the byte 0xff", 1),
        (b'{"dependencies": []}', "dependencies in package.json is a list (it takes an object of package names", None),
        (b'{"devDependencies": {"a": 1}}', "devDependencies.a in package.json is a number (it takes a version", None),
        (b'{"dependencies": {"a": null}}', "dependencies.a in package.json is null", None),
        (b'{"a": NaN}', "package.json line 1, column 7: NaN without quotes", 1),
        (b"[" * 100_000, "package.json line 1, column 100001: the file ends before", 1),
        (b"", "package.json line 1, column 1: the file is empty", 1),
        (b'{"overrides":' * 300 + b"1" + b"}" * 300, "package.json is nested too deeply", None),
    ],
)
def test_a_broken_package_json_is_named_with_its_place(data: bytes, message: str, line: int | None) -> None:
    with pytest.raises(InvalidManifest) as raised:
        wanted_packages({"package.json": data}, set())

    problem = raised.value.problem
    assert problem.message.startswith(message)
    assert (problem.source, problem.file, problem.line) == ("install", "package.json", line)


def test_a_name_as_long_as_a_file_is_told_in_short() -> None:
    name = "a" * 100_000
    with pytest.raises(InvalidManifest) as raised:
        wanted_packages({"package.json": json.dumps({"dependencies": {name: 1}}).encode()}, set())
    assert len(raised.value.problem.message) < 500
    (note,) = wanted({"packageManager": f"{name}@1"}).notes
    assert len(note.message) < 500


@given(st.binary(max_size=40) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_no_bytes_at_all_are_more_than_broken(data: bytes) -> None:
    with suppress(InvalidManifest):
        wanted_packages({"package.json": data}, set())


@pytest.mark.parametrize("section", ["dependencies", "workspaces", "pnpm", "patchedDependencies", "scripts"])
@given(
    value=st.recursive(st.none() | st.booleans() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of))
)
def test_no_value_of_a_section_is_more_than_broken(section: str, value: Any) -> None:
    with suppress(InvalidManifest, UnicodeEncodeError):
        wanted({section: value})


def test_what_is_added_or_changed_is_installed_before_the_sources() -> None:
    assert two_phase_plan(of("a"), of("a", "b"), is_new=False) == TwoPhasePlan(install_before=True, install_after=False)
    assert two_phase_plan(of("a"), wanted({"dependencies": {"a": "2"}}), is_new=False) == TwoPhasePlan(
        install_before=True, install_after=False
    )
    assert two_phase_plan(of("a"), wanted({"dependencies": {"a": "1"}}, "bun.lock"), is_new=False).install_before


def test_what_is_only_removed_goes_after_the_sources() -> None:
    assert two_phase_plan(of("a", "b"), of("a"), is_new=False) == TwoPhasePlan(
        install_before=False, install_after=True, removed=("b",)
    )


def test_what_makes_room_for_another_stays_until_the_sources_are_there() -> None:
    assert two_phase_plan(of("a", "b"), of("a", "c"), is_new=False) == TwoPhasePlan(
        install_before=True, install_after=True, keep=("b@1",), removed=("b",)
    )


@pytest.mark.parametrize(
    "gone", [{"b": "file:../b"}, {"b": "workspace:*"}, {"b": "./b"}, {"--ignore-scripts": "1"}, {"b": "catalog:"}]
)
def test_only_a_registrys_package_can_stay(gone: dict[str, str]) -> None:
    before = wanted({"dependencies": {"a": "1", **gone}})

    assert two_phase_plan(before, of("a", "c"), is_new=False).keep == ()


def test_a_first_installation_finds_all_files_in_place() -> None:
    assert two_phase_plan(None, of("a"), is_new=False) == TwoPhasePlan(install_before=False, install_after=True)
    assert two_phase_plan(of("a"), of("a", "b"), is_new=True) == TwoPhasePlan(install_before=False, install_after=True)


def test_an_apps_own_scripts_see_the_sources_they_came_with() -> None:
    after = wanted({"dependencies": {"a": "1", "b": "1"}, "scripts": {"postinstall": "node gen.js"}})

    assert two_phase_plan(of("a"), after, is_new=False) == TwoPhasePlan(install_before=True, install_after=True)


def test_what_the_dev_server_has_loaded_is_named_when_another_version_is_asked_for() -> None:
    newer = wanted({"dependencies": {"next": "16.4.6", "react": "19.3.1", "a": "1"}})

    assert replaced_packages(wanted(BASE), newer) == ("next",)
    assert replaced_packages(None, newer) == ()
    assert replaced_packages(newer, newer) == ()


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("package.json", True),
        ("package-lock.json", True),
        (".npmrc", True),
        ("app/page.tsx", False),
        ("vendor/a.tgz", True),
        ("vendor/b.tgz", False),
        ("lib/one/index.js", True),
        ("packages/x/package.json", True),
        ("examples/x/package.json", False),
        ("patches/a.patch", True),
    ],
)
def test_an_installer_finds_what_it_reads(path: str, needed: bool) -> None:  # noqa: FBT001 - a column of a table
    found = wanted(
        {
            "dependencies": {"a": "file:vendor/a.tgz", "b": "link:./lib/one", "c": "file:../outside"},
            "workspaces": {"packages": ["packages/*"]},
            "patchedDependencies": {"a@1": "patches/a.patch"},
        }
    )

    assert is_install_input(found, path) == needed


# --- a tree that somebody else made ---


def locked(**versions: str) -> dict[str, Any]:
    root = {"": {"dependencies": dict.fromkeys(versions, "^1")}}
    return {"packages": root | {f"node_modules/{name}": {"version": version} for name, version in versions.items()}}


def adopts(said: dict[str, Any], lock: dict[str, Any], hidden: dict[str, Any], **installed: str) -> bool:
    files = {"package.json": json.dumps(said).encode(), "package-lock.json": json.dumps(lock).encode()}
    return matches_npm_lock(
        files, set(), json.dumps(hidden).encode(), lambda name, version: installed.get(name) == version
    )


def hidden_of(lock: dict[str, Any]) -> dict[str, Any]:
    return {"packages": {path: package for path, package in lock["packages"].items() if path}}


A = {"dependencies": {"a": "^1"}}


def test_a_tree_that_npm_made_from_this_lock_file_is_recognised() -> None:
    assert adopts(A, locked(a="1.2.0"), hidden_of(locked(a="1.2.0")), a="1.2.0")


def test_optional_packages_for_other_systems_may_be_missing() -> None:
    lock = locked(a="1.2.0")
    hidden = hidden_of(lock)
    lock["packages"]["node_modules/swc-for-windows"] = {"version": "1.0.0", "optional": True}

    assert adopts(A, lock, hidden, a="1.2.0")
    lock["packages"]["node_modules/needed"] = {"version": "1.0.0"}
    assert not adopts(A, lock, hidden, a="1.2.0")


def test_any_doubt_about_a_tree_is_a_no() -> None:
    lock = locked(a="1.2.0")
    hidden = hidden_of(lock)
    assert not adopts(A, lock, hidden), "the package is not on the disk"
    assert not adopts(A, lock, hidden, a="1.1.0"), "another version is on the disk"
    assert not adopts(A, lock, hidden_of(locked(a="1.1.0")), a="1.2.0"), "npm's record has another version"
    assert not adopts(A, lock, hidden_of(locked(a="1.2.0", b="1.0.0")), a="1.2.0"), "a package is left over"
    assert not adopts({"dependencies": {"a": "^2"}}, lock, hidden, a="1.2.0"), (
        "the lock file is of an older package.json"
    )
    assert not adopts(A, {"packages": []}, hidden, a="1.2.0")
    linked = {"packages": {"node_modules/a": {"link": True}}}
    assert not adopts(A, linked | {"": {}}, linked, a="1.2.0")


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_strange_records_are_a_no(manifest: bytes, lock: bytes, hidden: bytes) -> None:
    assert not matches_npm_lock({"package.json": manifest, "package-lock.json": lock}, set(), hidden, lambda *_: True)
