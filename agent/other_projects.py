"""Files by which a project that is not a Node.js web app is recognised. Pure.

The dev server's room names the kind of project in its message, and the sync places no template files beside it.
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
"""File at the root → kind of project."""
