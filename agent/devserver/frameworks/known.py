"""The list of known frameworks, and which one an app is made with. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from agent.devserver.frameworks.astro import ASTRO
from agent.devserver.frameworks.custom import KNOWN_TOOL
from agent.devserver.frameworks.framework import Framework, ServerProgram
from agent.devserver.frameworks.nextjs import NEXT, of_version
from agent.devserver.frameworks.vite import SVELTE_KIT, VITE

ALL: Final = (NEXT, ASTRO, SVELTE_KIT, KNOWN_TOOL, VITE)
"""The first one that an app depends on counts: apps of frameworks built on Vite often depend on Vite too."""

_BY_PROGRAM: Final = (NEXT, ASTRO, VITE, KNOWN_TOOL)
"""A program that starts several frameworks counts as the one that ships it."""
_DEFAULTS: Final[Mapping[str, str]] = {
    "@angular/cli": "ng",
    "@vue/cli-service": "vue-cli-service",
    "@docusaurus/core": "docusaurus",
}
"""Package → the program that serves its apps, where the two have different names."""

_OTHER_VERBS: Final = frozenset(
    {
        *("analyze", "build", "bundle", "create", "export", "info", "init", "inspect", "internal", "lint", "optimize"),
        *("preview", "start", "telemetry", "test", "typegen", "upgrade", "watch", "help", "--help", "--version"),
        *("-h", "-v"),
    }
)


def by_packages(names: Collection[str]) -> Framework | None:
    """The framework that an app with these dependencies is made with."""
    return next((framework for framework in ALL if not set(framework.packages).isdisjoint(names)), None)


def by_program(program: str, verb: str | None) -> tuple[Framework, ServerProgram] | None:
    """The framework and the program that `program verb …` runs; None if it does not serve, or is unknown."""
    for framework in _BY_PROGRAM:
        for tool in framework.tools:
            if tool.program == program and (verb in tool.verbs or (tool.bare and _is_no_verb(verb))):
                return framework, tool
    return None


def default_tool(framework: Framework, names: Collection[str]) -> ServerProgram | None:
    """The program that serves an app without a script."""
    if framework is not KNOWN_TOOL:
        return framework.tools[0] if framework.tools else None
    package = next((name for name in framework.packages if name in names), "")
    program = _DEFAULTS.get(package, package)
    return next((tool for tool in framework.tools if tool.program == program), None)


def of_installed_version(framework: Framework, version: str | None) -> Framework:
    """`framework` as of the installed version."""
    return of_version(version) if framework is NEXT else framework


def _is_no_verb(word: str | None) -> bool:
    """Whether the word after the program is a flag or a path, and not a subcommand that does something else."""
    return word is None or word not in _OTHER_VERBS
