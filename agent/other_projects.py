"""The files by which a folder that is no web app is recognised. Pure.

A leaf: the dev server's room names such a project to its owner, and the sync lets no template stand in for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OTHER_PROJECTS: Final[Mapping[str, str]] = {
    "requirements.txt": "a Python project",
    "pyproject.toml": "a Python project",
    "manage.py": "a Django project",
    "main.py": "a Python project",
    "app.py": "a Python project",
    "go.mod": "a Go project",
    "Cargo.toml": "a Rust project",
    "Gemfile": "a Ruby project",
    "composer.json": "a PHP project",
    "index.php": "a PHP project",
    "pom.xml": "a Java project",
    "build.gradle": "a Java project",
    "pubspec.yaml": "a Flutter project",
    "CMakeLists.txt": "a C or C++ project",
    "main.c": "a C project",
    "main.cpp": "a C++ project",
    "Package.swift": "a Swift project",
    "mix.exs": "an Elixir project",
    "index.html": "a page without a build step",
}
"""File at the root → what the folder is then."""
