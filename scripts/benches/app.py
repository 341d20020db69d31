"""The small app that is previewed during measurements."""

from __future__ import annotations

LAYOUT = """import "./globals.css";
export default function Layout({ children }: { children: React.ReactNode }) {
  return <html lang="en"><body>{children}</body></html>;
}
"""
CSS = '@import "tailwindcss";\n'

TWINS = ("Local", "Remote")
"""Two components of each kind that differ only in their name: one is changed by rename(2) in the workspace, the other
through the backend. With one file, each would overwrite the other's changes."""


def client(twin: str, word: str) -> str:
    return (
        '"use client";\nimport { useState } from "react";\n'
        f"export function {twin}Client() {{\n  const [n, set] = useState(0);\n"
        f'  return <button onClick={{() => set(n + 1)}}><b id="{twin}-client">{word}</b> {{n}}</button>;\n}}\n'
    )


def server(twin: str, word: str) -> str:
    return f'export function {twin}Server() {{\n  return <h2 id="{twin}-server">{word}</h2>;\n}}\n'


KINDS = {"client": client, "server": server}


def component(kind: str, twin: str, word: str) -> tuple[str, str]:
    """Return path and text of a component that shows `word`."""
    return f"components/{twin}{kind.capitalize()}.tsx", KINDS[kind](twin, word)


def page() -> str:
    names = [f"{twin}{kind.capitalize()}" for twin in TWINS for kind in KINDS]
    imports = "".join(f'import {{ {name} }} from "@/components/{name}";\n' for name in names)
    parts = "".join(f"<{name} />" for name in names)
    return f"{imports}export default function Page() {{\n  return <main>{parts}</main>;\n}}\n"


def twins(twin: str) -> dict[str, str]:
    return dict(component(kind, twin, "first") for kind in KINDS)


SHELL = {"app/page.tsx": page(), "app/layout.tsx": LAYOUT, "app/globals.css": CSS}
WHOLE = SHELL | twins("Local") | twins("Remote")
