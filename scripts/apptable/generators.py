"""The apps that public generators make, at pinned versions: their rows, and how each is made. Pure.

`{name}` in a command is the app's folder. No command may ask anything, start a repository, or need more than npm's
registry. Fonts of Google's are taken out of the templates: where they cannot be fetched, Next 15 and 16 try again at
each compilation, and a bare dev server does not follow an edit within 20 s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from scripts.apptable.rows import EDITS, Edit, Router, Row

_GOOGLE_FONTS: Final = re.compile(r"import \{([^}]+)\} from ['\"]next/font/google['\"];?")


def without_google_fonts(text: str) -> str:
    """`text` with functions of the same names that give no font."""

    def constants(found: re.Match[str]) -> str:
        names = [name.strip() for name in found[1].split(",") if name.strip()]
        return "\n".join(f'const {name} = () => ({{ className: "", variable: "" }});' for name in names)

    return _GOOGLE_FONTS.sub(constants, text)


ALIAS: Final = ("--import-alias", "@/*")
SOME: Final[tuple[Edit, ...]] = ("text", "css", "break", "fix")


@dataclass(frozen=True, slots=True)
class Generated:
    row: Row
    command: tuple[str, ...]


def _next(
    version: str,
    name: str,
    *flags: str,
    see: str,
    suffix: str = ".tsx",
    src: bool = True,
    router: Router = "app",
    edits: tuple[Edit, ...] = SOME,
    quick: bool = False,
) -> Generated:
    root = f"src/{router}" if src else router
    page, css = (
        (f"{root}/page{suffix}", f"{root}/globals.css")
        if router == "app"
        else (f"{root}/index{suffix}", "src/styles/globals.css" if src else "styles/globals.css")
    )
    major = int(version.partition(".")[0])
    skip = ("--skip-install", "--disable-git") if major > 14 else ()
    return Generated(
        Row(
            name=name,
            kind=f"create-next-app {version}: {' '.join(flag.lstrip('-') for flag in flags)}",
            see=see,
            page=page,
            css=css,
            router=router,
            routes=root,
            edits=edits,
            lock=True,
            quick=quick,
        ),
        (
            *("npx", "--yes", f"create-next-app@{version}", "{name}", *flags),
            *("--app" if router == "app" else "--no-app", "--src-dir" if src else "--no-src-dir"),
            *("--no-eslint", "--use-npm", *ALIAS, *skip),
            *(("--yes",) if major > 14 else ()),
        ),
    )


def _vite(
    template: str, page: str, css: str, *, see: str = "Get started", insert: str = "", quick: bool = False
) -> Generated:
    return Generated(
        Row(
            name=f"vite-{template}",
            kind=f"create-vite 9.3.0: {template}",
            see=see,
            page=page,
            css=css,
            router="public",
            routes="public",
            edits=EDITS,
            insert=insert,
            lock=True,
            arguments=("--port", "{port}", "--strictPort", "--host", "127.0.0.1"),
            quick=quick,
        ),
        ("npx", "--yes", "create-vite@9.3.0", "{name}", "--template", template, "--no-interactive"),
    )


START_13: Final = "Get started by editing"
START_16: Final = "To get started, edit the"

GENERATED: Final[tuple[Generated, ...]] = (
    _next("16.4.3", "next16", "--ts", "--tailwind", see=START_16, src=False, edits=EDITS, quick=True),
    _next("16.4.3", "next16-src-js", "--js", "--no-tailwind", see=START_16, suffix=".js"),
    _next("16.4.3", "next16-pages", "--ts", "--tailwind", see=START_16, router="pages", edits=EDITS),
    _next("16.4.3", "next16-empty", "--ts", "--tailwind", "--empty", see="Hello world", edits=("text",)),
    _next("15.5.28", "next15", "--ts", "--tailwind", "--turbopack", see=START_13, edits=EDITS),
    _next("15.5.28", "next15-js", "--js", "--no-tailwind", "--no-turbopack", see=START_13, suffix=".js", src=False),
    _next("15.5.28", "next15-pages", "--ts", "--no-tailwind", "--turbopack", see=START_13, router="pages", src=False),
    _next("14.2.35", "next14", "--ts", "--tailwind", see=START_13, edits=EDITS),
    _next("14.2.35", "next14-pages", "--js", "--no-tailwind", see=START_13, suffix=".js", router="pages", src=False),
    _next("13.5.11", "next13", "--ts", "--tailwind", see=START_13, edits=EDITS),
    _next("13.5.11", "next13-pages", "--js", "--no-tailwind", see=START_13, suffix=".js", router="pages", src=False),
    _vite("react-ts", "src/App.tsx", "src/index.css", quick=True),
    _vite("vue-ts", "src/components/HelloWorld.vue", "src/style.css"),
    _vite("svelte-ts", "src/App.svelte", "src/app.css"),
    _vite("solid-ts", "src/App.tsx", "src/index.css"),
    _vite("vanilla", "src/main.js", "src/style.css", insert="${{{}}}"),
    Generated(
        Row(
            name="t3",
            kind="create-t3-app 7.40.0: App Router, Tailwind",
            see="First Steps",
            page="src/app/page.tsx",
            css="src/styles/globals.css",
            router="app",
            routes="src/app",
            edits=SOME,
            lock=True,
        ),
        (
            *("npx", "--yes", "create-t3-app@7.40.0", "{name}", "--CI", "--noGit", "--noInstall"),
            *("--tailwind", "--appRouter", "--eslint", "false"),
        ),
    ),
)
