"""Decides which template files are in the workspace beside a set: a pure function of the set's paths (contract, 5).

The template is the small Next.js project that the workspace holds before the first set. It is a placeholder and an app
never builds on it, so that the app runs as it would in an empty folder:

    the set has                        configuration      start page     root layout
    a package.json of its own          none               none           none
    another kind of project, no page   none               none           none
    routes, no package.json            what it lacks      none           where it has none
    neither                            what it lacks      all            all

"What it lacks" is decided by purpose and not by name: a set with postcss.config.js needs no postcss.config.mjs.
Next does not render a page without a root layout (next.md, section 5), so the template's layout is added for the first
pages of an app, in the app folder that the set uses.

What must not live here: disk access (template_files.py), and the order of operations (plan.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from agent.other_projects import OTHER_PROJECTS
from agent.package_files import LOCKS, MANIFEST
from agent.paths import folders_of

_PAGE: Final = re.compile(r"(?P<app>(?:src/)?app)/(?:.+/)?page\.(?:tsx|ts|jsx|js|mdx|md)")
_HANDLER: Final = re.compile(r"(?:src/)?app/(?:.+/)?route\.(?:ts|js|tsx|jsx)")
_OLD_PAGE: Final = re.compile(
    r"(?:src/)?pages/(?!_(?:app|document|error)\.)(?:.+/)?(?!_(?:app|document)\.)[^/]+\.(?:tsx|ts|jsx|js|mdx|md)"
)
_LAYOUT: Final = re.compile(r"(?P<app>(?:src/)?app)/(?:.+/)?layout\.(?:tsx|ts|jsx|js)")
_TEMPLATE_LAYOUT: Final = re.compile(r"app/(?:layout\.[a-z]+|[^/]+\.css)")
_TEMPLATE_ROUTE: Final = re.compile(r"(?:src/)?(?:app|pages)/.+")

_PURPOSES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("next", re.compile(r"next\.config\.[a-z]+")),
    ("postcss", re.compile(r"postcss\.config\.[a-z]+|\.postcssrc(?:\.[a-z]+)?")),
    ("tailwind", re.compile(r"tailwind\.config\.[a-z]+")),
    ("types", re.compile(r"(?:ts|js)config\.json")),
    ("lock", re.compile("|".join(re.escape(lock) for lock in LOCKS))),
)


def stand_ins(template: AbstractSet[str], app: AbstractSet[str]) -> dict[str, str]:
    """Path in the workspace → the template file to place there while the set has the paths `app`.

    No path of the result equals, contains or lies below a path of `app`.
    """
    if is_whole_project(app) or is_other_project(app):
        return {}
    layouts = {path for path in template if _TEMPLATE_LAYOUT.fullmatch(path)}
    routes = {path for path in template if _TEMPLATE_ROUTE.fullmatch(path)}
    taken = {purpose for path in app if (purpose := _purpose(path)) is not None}
    wanted = {path: path for path in template - routes if _purpose(path) not in taken}
    if not has_route(app):
        wanted |= {path: path for path in routes}
    elif (folder := _folder_without_layout(app)) is not None:
        wanted |= {f"{folder}/{path.removeprefix('app/')}": path for path in layouts}
    return _beside(wanted, app)


def is_whole_project(app: AbstractSet[str]) -> bool:
    """True if the set has a package.json at its root or, if the root has no route, in any folder (an app in a folder
    of a repository).
    """
    if MANIFEST in app:
        return True
    return not has_route(app) and any(path.endswith(f"/{MANIFEST}") for path in app)


def is_other_project(app: AbstractSet[str]) -> bool:
    """True if the set is another kind of project, such as a Python program. With the template beside it, the preview
    would show the template's page, which says that it waits for files.
    """
    return any(path in OTHER_PROJECTS for path in app) and not any(
        path.endswith((".tsx", ".jsx")) or _OLD_PAGE.fullmatch(path) for path in app
    )


def has_route(app: Iterable[str]) -> bool:
    """True if Next would serve at least one route from the set."""
    return any(_PAGE.fullmatch(path) or _HANDLER.fullmatch(path) or _OLD_PAGE.fullmatch(path) for path in app)


def _folder_without_layout(app: AbstractSet[str]) -> str | None:
    """The app folder that Next uses, if it has a page and no layout. With `app` at the root, Next ignores `src/app`."""
    folder = "app" if any(path.startswith("app/") for path in app) else "src/app"
    pages = (_PAGE.fullmatch(path) for path in app)
    if not any(page is not None and page["app"] == folder for page in pages):
        return None
    layouts = (_LAYOUT.fullmatch(path) for path in app)
    return None if any(layout is not None and layout["app"] == folder for layout in layouts) else folder


def _purpose(path: str) -> str | None:
    return next((purpose for purpose, names in _PURPOSES if names.fullmatch(path)), None)


def _beside(wanted: Mapping[str, str], app: AbstractSet[str]) -> dict[str, str]:
    """The entries of `wanted` whose paths do not collide with those of `app`."""
    folders = {folder for path in app for folder in folders_of(path)}
    return {
        target: source
        for target, source in wanted.items()
        if target not in app and target not in folders and not any(folder in app for folder in folders_of(target))
    }
