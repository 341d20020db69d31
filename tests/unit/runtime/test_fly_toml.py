"""runtime/fly.toml says only what Fly understands, and says it about the agent as it is.

Fly's own tool takes a key that it does not know and forgets it, so that a slip of the pen shows as a bill. The table is
written after Fly's configuration reference and the structures of its command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from agent.config import TABLE, load

ROOT = Path(__file__).resolve().parents[3]
RUNTIME = ROOT / "runtime"
FLY: dict[str, Any] = tomllib.loads((RUNTIME / "fly.toml").read_text("utf-8"))

Rule: TypeAlias = Callable[[Any], bool]


def text(pattern: str = ".+") -> Rule:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def one_of(*words: str) -> Rule:
    return text("|".join(words))


def number(low: int, high: int) -> Rule:
    return lambda value: type(value) is int and low <= value <= high


def flag(value: Any) -> bool:
    return isinstance(value, bool)


DURATION = text(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+")
PORT = number(1, 65535)
PATH = text(r"/[!-~]*")

# Keys by their place: `[]` stands for each table of an array, `*` for a name that is the author's own.
ALLOWED: Mapping[str, Rule] = {
    "app": text(r"[a-z0-9][a-z0-9-]{0,62}"),
    "primary_region": text("[a-z]{3}"),
    "kill_signal": one_of("SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"),
    "kill_timeout": DURATION,
    "swap_size_mb": number(0, 1 << 16),
    "console_command": text(),
    "build.image": text(),
    "build.dockerfile": text(),
    "build.ignorefile": text(),
    "build.build-target": text(),
    "build.args.*": text(),
    "deploy.strategy": one_of("canary", "rolling", "bluegreen", "immediate"),
    "deploy.wait_timeout": DURATION,
    "env.*": text(),
    "http_service.internal_port": PORT,
    "http_service.force_https": flag,
    "http_service.auto_stop_machines": one_of("off", "stop", "suspend"),
    "http_service.auto_start_machines": flag,
    "http_service.min_machines_running": number(0, 100),
    "http_service.concurrency.type": one_of("connections", "requests"),
    "http_service.concurrency.soft_limit": number(1, 100_000),
    "http_service.concurrency.hard_limit": number(1, 100_000),
    "http_service.http_options.idle_timeout": number(1, 3600),
    "restart.[].policy": one_of("never", "always", "on-failure"),
    "restart.[].retries": number(0, 1000),
    "checks.*.type": one_of("tcp", "http"),
    "checks.*.port": PORT,
    "checks.*.method": one_of("get", "post", "head"),
    "checks.*.path": PATH,
    "checks.*.interval": DURATION,
    "checks.*.timeout": DURATION,
    "checks.*.grace_period": DURATION,
    "metrics.[].port": PORT,
    "metrics.[].path": PATH,
    "mounts.[].source": text(),
    "mounts.[].destination": text("/.+"),
    "vm.[].size": text(r"(shared-cpu-[1248]x|performance-([1248]|16)x)"),
    "vm.[].memory": text(r"[0-9]+(mb|gb)"),
    "vm.[].cpus": number(1, 16),
    "vm.[].cpu_kind": one_of("shared", "performance"),
}


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, (*place, "[]"))
    else:
        yield place, value


def rule_of(place: tuple[str, ...]) -> Rule | None:
    for key, rule in ALLOWED.items():
        parts = key.split(".")
        if len(parts) == len(place) and all(part in {"*", own} for part, own in zip(parts, place, strict=True)):
            return rule
    return None


def wrong(config: Mapping[str, Any]) -> list[str]:
    found = []
    for place, value in leaves(config):
        rule = rule_of(place)
        if rule is None:
            found.append(f"{'.'.join(place)} is no key that Fly knows")
        elif not rule(value):
            found.append(f"{'.'.join(place)} = {value!r}")
    return found


def test_every_key_is_one_that_fly_knows_with_a_value_that_it_takes() -> None:
    assert wrong(FLY) == []


@pytest.mark.parametrize(
    "slip",
    [
        {"http_service": {"autostop": "off"}},  # the API's word
        {"http_service": {"auto_stop": "off"}},
        {"http_service": {"auto_start_machines": "true"}},
        {"restart": {"policy": "on-failure"}},  # a table where an array of tables is meant
        {"restart": [{"policy": "on_failure"}]},
        {"checks": {"agent": {"port": "9090"}}},
        {"kill_timeout": "5"},
        {"kill_signal": "TERM"},
    ],
)
def test_a_slip_of_the_pen_is_found(slip: dict[str, Any]) -> None:
    assert wrong(slip)


def seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", duration))


def default(name: str) -> str:
    return next(row.default or "" for row in TABLE if row.name == name)


def test_the_ports_are_the_agents_own() -> None:
    assert str(FLY["http_service"]["internal_port"]) == default("PORT")
    (check,) = FLY["checks"].values()
    (metrics,) = FLY["metrics"]
    assert {str(check["port"]), str(metrics["port"])} == {default("AGENT_PORT")}
    served = (ROOT / "agent/admin/server.py").read_text("utf-8")
    assert f'"{check["path"]}"' in served
    assert f'"{metrics["path"]}"' in served


def test_the_environment_says_only_what_has_no_default_and_the_agent_takes_it() -> None:
    environ = FLY["env"]
    assert set(environ) == {row.name for row in TABLE if row.required}
    assert not [name for name in environ if name.startswith("FLY_")], "Fly refuses those"
    assert load(environ).app_id == environ["APP_ID"]


def test_sleep_is_the_agents_own_and_stays_sleep() -> None:
    service = FLY["http_service"]
    assert service["auto_stop_machines"] == "off"
    assert service["auto_start_machines"] is True
    assert service["min_machines_running"] == 0
    assert [restart["policy"] for restart in FLY["restart"]] == ["on-failure"]


def test_no_check_stands_between_a_visitor_and_the_waking_page() -> None:
    assert "checks" not in FLY["http_service"]
    (check,) = FLY["checks"].values()
    assert seconds(check["timeout"]) < seconds(check["interval"]) <= 60


def test_a_stop_has_time_and_ends_before_fly_loses_patience() -> None:
    assert 2 < seconds(FLY["kill_timeout"]) <= 300
    dockerfile = (RUNTIME / "Dockerfile").read_text("utf-8")
    assert f"STOPSIGNAL {FLY['kill_signal']}\n" in dockerfile


def test_the_machine_can_be_suspended() -> None:
    (machine,) = FLY["vm"]
    size, unit = re.fullmatch(r"([0-9]+)(mb|gb)", machine["memory"]).groups()  # type: ignore[union-attr]  # the table's
    memory = int(size) * (1024 if unit == "gb" else 1)
    assert 1024 <= memory <= 2048
    assert memory % 256 == 0
    assert not FLY.get("swap_size_mb")


def test_what_is_built_is_there() -> None:
    build = FLY["build"]
    assert (RUNTIME / build["dockerfile"]).samefile(RUNTIME / "Dockerfile")
    assert (RUNTIME / build["ignorefile"]).samefile(ROOT / ".dockerignore")
