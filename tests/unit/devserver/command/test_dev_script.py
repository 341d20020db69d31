"""package.json's scripts → what is run for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devserver.command.dev_script import Package, RewrittenScript, rewrite
from agent.devserver.command.shell_words import Unreadable, scan

OURS = "-p 4000 -H 127.0.0.1"
VITES = "--port 4000 --strictPort --host 127.0.0.1"
SCRIPTS = {
    "web": "next dev --port 5",
    "dev:css": "tailwindcss -w",
    "dev:web": "next dev",
    "gen": "prisma generate",
    "loop": "npm run loop",
}
NEXT = frozenset({"next"})


def served(text: str, dependencies: frozenset[str] = NEXT, **scripts: str) -> RewrittenScript:
    return rewrite("dev", Package({**SCRIPTS, **scripts, "dev": text}, dependencies), 4000)


@pytest.mark.parametrize(
    ("script", "run"),
    [
        ("next dev", f"next dev {OURS}"),
        ("next", f"next {OURS}"),
        ("next dev --turbo -p 3005", f"next dev --turbo {OURS}"),
        ("next dev --webpack --port=3005 --hostname 0.0.0.0", f"next dev --webpack {OURS}"),
        ("next dev -p3005 -H localhost", f"next dev {OURS}"),
        ("next dev -p ${PORT:-3000}", f"next dev {OURS}"),
        ("next dev ./web -p 1", f"next dev ./web {OURS}"),
        ("next dev --experimental-https --experimental-https-key a.pem", f"next dev {OURS}"),
        ("NODE_OPTIONS='--inspect' next dev", f"NODE_OPTIONS='--inspect' next dev {OURS}"),
        ('cross-env A=b NODE_OPTIONS="--max 4" next dev', f'A=b NODE_OPTIONS="--max 4" next dev {OURS}'),
        ('cross-env-shell A=b "prisma generate && next dev"', None),
        ("dotenv -e .env.local -- next dev", f"dotenv -e .env.local -- next dev {OURS}"),
        ("env-cmd -f .env next dev", f"env-cmd -f .env next dev {OURS}"),
        ("env-cmd ./.env next dev", f"env-cmd ./.env next dev {OURS}"),
        ("prisma generate && next dev", f"prisma generate && next dev {OURS}"),
        ("velite --watch & next dev", f"velite --watch & next dev {OURS}"),
        ("next dev > log.txt 2>&1", f"next dev {OURS} > log.txt 2>&1"),
        ("next dev | pino-pretty", f"next dev {OURS} | pino-pretty"),
        ("if [ -f x ]; then next dev; fi", f"if [ -f x ]; then next dev {OURS}; fi"),
        ('concurrently -n a,b "next dev -p 3001" "tailwindcss -w"', None),
        ("npx next dev", f"next dev {OURS}"),
        ("npx -y next@latest dev", f"next@latest dev {OURS}"),
        ("pnpm exec next dev", f"next dev {OURS}"),
        ("yarn dlx next dev", f"next dev {OURS}"),
        ("bunx --bun next dev", f"next dev {OURS}"),
        ("bun --bun next dev", f"next dev {OURS}"),
        ("node --inspect node_modules/.bin/next dev", f"node --inspect node_modules/.bin/next dev {OURS}"),
        ("npm run web -- --turbo", f"next dev --turbo {OURS}"),
        ("npm run -s web", f"next dev {OURS}"),
        ("yarn web", f"next dev {OURS}"),
        ("pnpm run web", f"next dev {OURS}"),
        ("bun run web", f"next dev {OURS}"),
        ("node --run web", f"next dev {OURS}"),
        ("run-p dev:*", f"{{ tailwindcss -w & next dev {OURS}; }}"),
        ("npm-run-all -s gen -p dev:web dev:css", f"{{ prisma generate; }} && {{ tailwindcss -w & next dev {OURS}; }}"),
        ("run-s gen dev:web", f"{{ prisma generate && next dev {OURS}; }}"),
        ("storybook dev -p 6006 & next dev", f"storybook dev -p 6006 & next dev {OURS}"),
    ],
)
def test_a_script_of_next_gets_our_port_and_address_and_stays_what_it_is(script: str, run: str | None) -> None:
    found = served(script)
    assert found.framework is not None
    assert found.framework.name == "next"
    assert not found.own_server
    if run is not None:
        assert found.text == run
    assert found.text.count("4000") == 1
    assert "--turbopack" not in found.text


def test_a_command_inside_quotes_is_changed_inside_its_quotes() -> None:
    text = served('concurrently -n web,css "next dev -p 3001" "npm:dev:css"').text
    assert text == f"concurrently -n web,css 'next dev {OURS}' 'tailwindcss -w'"
    assert served('cross-env-shell A=b "prisma generate && next dev"').text == (
        f"{{ export A=b; {{ prisma generate && next dev {OURS}; }}; }}"
    )


def test_what_stands_before_the_script_runs_before_it() -> None:
    assert served("next dev", predev="npm run gen").text == f"prisma generate && next dev {OURS}"
    assert served("npm run web", preweb="a; b").text == f"{{ {{ a; b; }} && next dev {OURS}; }}"


@pytest.mark.parametrize(
    "script",
    [
        "npm run dev",
        "npm run loop",
        "npm run none",
        "turbo run dev",
        "next build && next start",
        "vite build --watch",
        "echo '",
    ],
)
def test_what_serves_nothing_that_is_known_stays_as_it_is(script: str) -> None:
    found = served(script)
    assert (found.text, found.framework, found.own_server) == (script, None, False)


@pytest.mark.parametrize(
    ("script", "entry"),
    [
        ("node server.mjs", "server.mjs"),
        ("NODE_ENV=development node ./server.js", "server.js"),
        ("node scripts/gen.mjs && node server.mjs", "server.mjs"),
        ("node --watch server.mjs", None),
        ("tsx watch server.ts", None),
        ("tsx server.ts", None),
        ("nodemon --watch src --exec ts-node server.ts", None),
        ("bun server.ts", None),
    ],
)
def test_a_server_of_the_apps_own_is_recognised_with_the_file_that_only_a_restart_reads_again(
    script: str, entry: str | None
) -> None:
    found = served(script)
    assert (found.text, found.own_server, found.entry) == (script, True, entry)


@pytest.mark.parametrize(
    ("script", "run"),
    [
        ("vite", f"vite {VITES}"),
        ("vite --host", f"vite {VITES}"),
        ("vite dev --host 0.0.0.0 --strictPort --port 3000", f"vite dev {VITES}"),
        ("vite --open /x --mode test", f"vite --mode test {VITES}"),
        ('concurrently "vite" "node server.js"', f"concurrently 'vite {VITES}' \"node server.js\""),
        ("react-router dev", f"react-router dev {VITES}"),
        ("astro dev --host", "astro dev --port 4000 --host 127.0.0.1"),
        ("ng serve --open", "ng serve --port 4000 --host 127.0.0.1"),
        ("react-scripts start", "PORT=4000 HOST=127.0.0.1 BROWSER=none react-scripts start"),
        ("nuxt dev -o", "nuxt dev --port 4000 --host 127.0.0.1"),
    ],
)
def test_other_frameworks_are_told_in_their_own_way(script: str, run: str) -> None:
    assert served(script, frozenset({"vite"})).text == run


def test_a_flag_that_is_never_app_file_is_told_unless_it_only_said_the_port() -> None:
    (note,) = served("next dev --experimental-https -p 1").notes
    assert "--experimental-https" in note
    assert served("next dev -p 1 -H x").notes == ()
    (note,) = served("vite --open", frozenset({"vite"})).notes
    assert "--open" in note


WORDS = st.sampled_from(
    [
        *"&&|;&()'\"$#<>",
        "next",
        "dev",
        "-p",
        "3000",
        "npm",
        "run",
        "x",
        "y",
        "vite",
        "A=b",
        "cross-env",
        "concurrently",
        "-H",
    ]
)


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=8))
def test_no_script_is_made_unreadable_or_takes_for_ever(words: list[str], other: list[str]) -> None:
    text, more = " ".join(words), " ".join(other)
    found = served(text, x=more, y=f"npm run x & npm run x & {more}")
    try:
        scan(text)
        scan(more)
    except Unreadable:
        return
    scan(found.text)
    assert found.text.count("127.0.0.1") <= 1 or "dev" in text + more


def test_scripts_that_call_each_other_twice_each_end() -> None:
    scripts = {f"s{n}": f"npm run s{n + 1} & npm run s{n + 1}" for n in range(30)}
    package = Package({**scripts, "dev": "npm run s0"}, NEXT)
    assert len(rewrite("dev", package, 4000).text) < 200_000
