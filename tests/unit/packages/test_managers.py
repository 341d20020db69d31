"""How package managers are called."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from agent.packages.managers import command, layout, plugs_and_plays, takes_packages, variables
from agent.packages.toolchain import CARRIED, Manager, package
from tests.conftest import ROOT


def test_what_stays_for_a_while_is_no_option_of_the_command() -> None:
    assert command("npm", ("a@1",))[-2:] == ("--", "a@1")
    assert command("bun", ("a@1",))[-2:] == ("--", "a@1")
    assert [manager for manager in get_args(Manager) if takes_packages(manager)] == ["npm", "bun"]


@pytest.mark.parametrize("manager", get_args(Manager))
def test_the_cache_is_asked_first_only_where_a_lock_file_names_the_versions(manager: Manager) -> None:
    assert command(manager)[0] == manager
    assert "--prefer-offline" not in command(manager)
    # yarn 2 and up never asks the registry for what its lock file names
    assert ("--prefer-offline" in command(manager, locked=True)) == (manager != "yarn-berry")


@pytest.mark.parametrize("manager", get_args(Manager))
def test_a_fetched_version_is_called_by_its_place(manager: Manager) -> None:
    assert command(manager, program="/home/x/bin/it")[0] == "/home/x/bin/it"


def test_npm_and_bun_go_on_with_each_others_trees_and_nobody_else_does() -> None:
    layouts = [layout(manager) for manager in get_args(Manager)]
    assert len(set(layouts)) == len(layouts) - 1
    assert layout("npm") == layout("bun")


def test_yarn_makes_node_modules_where_it_would_plug_and_play() -> None:
    assert plugs_and_plays(b"")
    assert variables("yarn-berry")["YARN_NODE_LINKER"] == "node-modules"
    assert "YARN_NODE_LINKER" not in variables("yarn-berry", yarnrc=b"nodeLinker: pnpm\n")
    assert not plugs_and_plays(b"a: b\nnodeLinker: 'node-modules'\n")


def test_yarn_is_told_the_registry_that_npm_is_configured_with() -> None:
    npmrcs = (b"fund=false\n@x:registry=https://scoped.example\n", b'registry = "https://packages.example/"\n')
    named = "YARN_NPM_REGISTRY_SERVER"
    assert variables("yarn-berry", npmrcs=npmrcs)[named] == "https://packages.example/"
    assert named not in variables("yarn-berry", npmrcs=npmrcs, yarnrc=b"npmRegistryServer: https://own.example\n")
    assert named not in variables("yarn-berry")


def test_the_image_carries_the_versions_that_are_known_here() -> None:
    asked = json.loads((ROOT / "runtime/installers/package.json").read_text("utf-8"))["dependencies"]
    assert {package(manager) for manager in CARRIED} == {f"{name}@{version}" for name, version in asked.items()}


def test_a_script_that_calls_pnpm_again_is_not_led_to_another_version() -> None:
    """Pnpm starts scripts without what begins with npm_, and reads its settings from names in capitals too."""
    assert variables("pnpm")["NPM_CONFIG_MANAGE_PACKAGE_MANAGER_VERSIONS"] == "false"
