"""What runtime/Dockerfile promises and a builder would not notice. scripts/image shows that it builds and runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent.config import TABLE
from agent.devserver.command.app_command import AppCommand, for_app
from agent.devserver.command.app_dir import member

ROOT = Path(__file__).resolve().parents[3]
RUNTIME = ROOT / "runtime"
TEXT = (RUNTIME / "Dockerfile").read_text("utf-8")
LINES = [
    line for line in re.sub(r"\\\n\s*", " ", TEXT).splitlines() if line.strip() and not line.lstrip().startswith("#")
]
SHIPPED = LINES[max(at for at, line in enumerate(LINES) if line.startswith("FROM ")) :]


def default(name: str) -> str:
    return next(row.default or "" for row in TABLE if row.name == name)


@pytest.mark.parametrize(
    ("never", "because"),
    [
        (r"^# *syntax", "BuildKit would fetch a frontend"),
        (r"<<-?['\"]?[A-Z]", "Buildah 1.28 knows no heredocs"),
        (r"^(COPY|ADD) .*--(link|exclude|checksum|parents)", "Buildah 1.28 does not know it"),
        (r"sharing=locked", "two of them in one RUN stop Buildah 1.28 for ever"),
        (r"^USER root", "what is root says so by saying nothing"),
        (r"(?i)https?://|--registry|--index-url", "a registry is the builder's to configure"),
        (r"(?i)(api_?key|token|secret|password)\s*=", "no secret is baked in"),
    ],
)
def test_nothing_stands_in_it_that_one_of_the_builders_cannot_take(never: str, because: str) -> None:
    assert not re.search(never, TEXT, flags=re.MULTILINE), because


def test_there_is_one_base_and_it_can_be_chosen() -> None:
    bases = {line.split()[1] for line in LINES if line.startswith("FROM ")}
    stages = {line.split()[3] for line in LINES if line.startswith("FROM ") and " AS " in line}
    assert bases - stages == {"${NODE_IMAGE}"}
    assert re.fullmatch(r"ARG NODE_IMAGE=node:\d+-[a-z]+-slim", LINES[0])


def test_the_agent_is_started_without_a_shell() -> None:
    (entry,) = [line for line in SHIPPED if line.startswith("ENTRYPOINT ")]
    assert json.loads(entry.removeprefix("ENTRYPOINT "))[1:] == ["-m", "agent", "run"]


def test_the_authorities_are_a_folder_to_look_in_and_no_file_to_read_whole() -> None:
    base = LINES[next(at for at, line in enumerate(LINES) if line.endswith(" AS base")) + 1]
    assert "install --yes --no-install-recommends ca-certificates" in base
    assert "&& rm /usr/lib/ssl/cert.pem" in base, "in the layer it came with, and a build that finds none has to say so"
    assert "SSL_CERT" not in TEXT.partition("FROM base\n")[2], "the dev server would be given it too"


def test_the_defaults_of_workspace_and_state_lead_into_one_folder() -> None:
    shipped = "\n".join(SHIPPED)
    for name in ("WORKSPACE", "STATE_DIR"):
        assert re.search(rf"ln -s /srv/preview/\w+ {default(name)}\b", shipped), name


def test_the_cache_is_warmed_by_the_command_that_the_agent_runs() -> None:
    script = (RUNTIME / "warm.mjs").read_text("utf-8")
    manifest = json.loads((RUNTIME / "next-template/package.json").read_text("utf-8"))
    command = for_app(member("", manifest), int(default("DEV_PORT")))
    assert isinstance(command, AppCommand)
    words = [f"node_modules/{command.file}" if word == "{file}" else word for word in command.argv[1:]]
    (shown,) = re.findall(r"^const COMMAND = \[(.*)\];$", script, flags=re.MULTILINE)
    (port,) = re.findall(r"^const PORT = (\d+);$", script, flags=re.MULTILINE)
    assert json.loads(f"[{shown.replace('String(PORT)', json.dumps(port))}]") == words


def test_what_the_image_says_to_the_environment_is_none_of_the_agents_settings() -> None:
    (variables,) = [line.removeprefix("ENV ") for line in SHIPPED if line.startswith("ENV ")]
    names = {word.partition("=")[0] for word in variables.split()}
    assert not names & {row.name for row in TABLE}


def test_the_installers_are_pinned_by_their_bytes() -> None:
    lock = json.loads((RUNTIME / "installers/package-lock.json").read_text("utf-8"))
    asked = json.loads((RUNTIME / "installers/package.json").read_text("utf-8"))["dependencies"]
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert {f"node_modules/{name}" for name in asked} <= set(packages)
    assert lock["packages"][""]["dependencies"] == asked


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for line in LINES
        if line.startswith("COPY ") and "--from=" not in line
        for source in [word for word in line.split()[1:] if not word.startswith("--")][:-1]
    }
    for path in copied:
        assert any(path == entry or path.startswith(entry + "/") for entry in sent), f"{path} is not sent"
    for entry in sent:
        assert any(path == entry or path.startswith(entry + "/") for path in copied), f"{entry} is sent for nothing"
    assert not [entry for entry in sent if entry.startswith(("control", "tests", "."))]
