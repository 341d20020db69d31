"""How package managers are called."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from agent.packages.managers import accepts_packages, environment, install_command, tree_layout, uses_plug_and_play
from agent.packages.toolchain import BUNDLED, Manager, npm_package
from tests.conftest import ROOT


def test_what_stays_for_a_while_is_no_option_of_the_command() -> None:
    assert install_command("npm", ("a@1",))[-2:] == ("--", "a@1")
    assert install_command("bun", ("a@1",))[-2:] == ("--", "a@1")
    assert [manager for manager in get_args(Manager) if accepts_packages(manager)] == ["npm", "bun"]


@pytest.mark.parametrize("manager", get_args(Manager))
def test_the_cache_is_asked_first_only_where_a_lock_file_names_the_versions(manager: Manager) -> None:
    assert install_command(manager)[0] == manager
    assert "--prefer-offline" not in install_command(manager)
    # yarn 2 and up never asks the registry for what its lock file names
    assert ("--prefer-offline" in install_command(manager, locked=True)) == (manager != "yarn-berry")


@pytest.mark.parametrize("manager", get_args(Manager))
def test_a_fetched_version_is_called_by_its_place(manager: Manager) -> None:
    assert install_command(manager, program="/home/x/bin/it")[0] == "/home/x/bin/it"


def test_npm_and_bun_go_on_with_each_others_trees_and_nobody_else_does() -> None:
    layouts = [tree_layout(manager) for manager in get_args(Manager)]
    assert len(set(layouts)) == len(layouts) - 1
    assert tree_layout("npm") == tree_layout("bun")


def test_yarn_makes_node_modules_where_it_would_plug_and_play() -> None:
    assert uses_plug_and_play(b"")
    assert environment("yarn-berry")["YARN_NODE_LINKER"] == "node-modules"
    assert "YARN_NODE_LINKER" not in environment("yarn-berry", yarnrc=b"nodeLinker: pnpm\n")
    assert not uses_plug_and_play(b"a: b\nnodeLinker: 'node-modules'\n")


def test_yarn_is_told_the_registry_that_npm_is_configured_with() -> None:
    npmrcs = (b"fund=false\n@x:registry=https://scoped.example\n", b'registry = "https://packages.example/"\n')
    named = "YARN_NPM_REGISTRY_SERVER"
    assert environment("yarn-berry", npmrcs=npmrcs)[named] == "https://packages.example/"
    assert named not in environment("yarn-berry", npmrcs=npmrcs, yarnrc=b"npmRegistryServer: https://own.example\n")
    assert named not in environment("yarn-berry")


def test_the_image_carries_the_versions_that_are_known_here() -> None:
    asked = json.loads((ROOT / "runtime/installers/package.json").read_text("utf-8"))["dependencies"]
    assert {npm_package(manager) for manager in BUNDLED} == {f"{name}@{version}" for name, version in asked.items()}


def test_a_script_that_calls_pnpm_again_is_not_led_to_another_version() -> None:
    """Pnpm starts scripts without what begins with npm_, and reads its settings from names in capitals too."""
    assert environment("pnpm")["NPM_CONFIG_MANAGE_PACKAGE_MANAGER_VERSIONS"] == "false"
