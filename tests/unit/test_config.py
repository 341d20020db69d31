from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent import config
from agent.config import TABLE, FlyMachine, Secret, Settings, load
from agent.errors import ConfigError

LEAST = {"APP_ID": "shop", "API_URL": "https://backend.example"}


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load({**LEAST, **environ})
    return str(caught.value)


def test_the_app_and_the_backend_are_all_that_must_be_said() -> None:
    settings = load(LEAST, hostname=lambda: "laptop")
    assert settings == Settings(
        app_id="shop",
        api_url="https://backend.example",
        api_key=None,
        workspace=Path("/workspace").resolve(),
        state_dir=Path("/var/lib/preview-agent").resolve(),
        port=3000,
        dev_port=3001,
        agent_port=9090,
        app_dir=None,
        dev_command=None,
        dev_user="preview",
        poll_interval=3.0,
        long_poll_wait=25.0,
        idle_timeout=300.0,
        sleep_mode="exit",
        machine="laptop",
        fly=None,
    )


def test_every_wrong_variable_is_named_in_one_message_with_what_it_got_and_takes() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"API_URL": "ftp://x", "PORT": "http", "POLL_INTERVAL": "3", "SLEEP_MODE": "nap", "WORKSPACE": "here"})
    message = str(caught.value)
    assert "APP_ID is not set (it takes 1 to 128 letters, digits, '.', '_', '~' or '-')" in message
    assert "API_URL is a value that is not shown (it takes an http:// or https:// address" in message
    assert "PORT is 'http' (it takes a port from 1 to 65535)" in message
    assert "POLL_INTERVAL is '3' (it takes a number with a unit" in message
    assert "SLEEP_MODE is 'nap' (it takes exit, suspend or off)" in message
    assert "WORKSPACE is 'here' (it takes an absolute path)" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ID", "a/b"),
        ("APP_ID", ".."),
        ("APP_ID", "x" * 129),
        ("API_URL", "https://user:pass@backend.example"),
        ("API_URL", "https://backend.example/?a=1"),
        ("API_URL", "https://backend.example:port"),
        ("API_URL", "https://backend.example:0"),
        ("API_URL", "https://"),
        ("API_URL", "https://[::1"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "+80"),
        ("PORT", "80.0"),
        ("PORT", "٣٠٠٠"),
        ("POLL_INTERVAL", "0"),
        ("POLL_INTERVAL", "10ms"),
        ("POLL_INTERVAL", "-3s"),
        ("POLL_INTERVAL", "3 s"),
        ("IDLE_TIMEOUT", "5min"),
        ("LONG_POLL_WAIT", "infs"),
        ("LONG_POLL_WAIT", "1e3s"),
        ("DEV_COMMAND", "node 'next"),
        ("APP_DIR", "/apps/web"),
        ("APP_DIR", "../web"),
        ("APP_DIR", "apps//web"),
        ("APP_DIR", "apps\\web"),
        ("APP_DIR", "apps/./web"),
        ("STATE_DIR", "relative"),
        ("STATE_DIR", "/state\0"),
        ("FLY_API_SOCKET", ".fly/api"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: str) -> None:
    assert refusal(**{name: value}).startswith(f"{name} is ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("3s", 3), ("1.5s", 1.5), ("5m", 300), ("1h", 3600), ("0", 0), ("0s", 0)]
)
def test_durations_have_a_unit_and_only_zero_needs_none(text: str, seconds: float) -> None:
    assert load({**LEAST, "IDLE_TIMEOUT": text}).idle_timeout == seconds


def test_a_variable_that_is_set_but_empty_counts_as_not_set() -> None:
    assert load({**LEAST, "PORT": "", "API_KEY": " ", "API_KEY_FILE": ""}) == load(LEAST)
    assert "APP_ID is not set" in refusal(APP_ID=" ")


def test_a_trailing_slash_of_the_backends_address_is_dropped_and_its_path_kept() -> None:
    assert load({**LEAST, "API_URL": "http://localhost:8787/base/"}).api_url == "http://localhost:8787/base"


def test_the_dev_command_is_split_as_a_shell_would_and_gets_the_port_everywhere() -> None:
    settings = load({**LEAST, "DEV_PORT": "4001", "DEV_COMMAND": "env 'A=b c' serve --port={port} {port}"})
    assert settings.dev_command == ("env", "A=b c", "serve", "--port=4001", "4001")


@pytest.mark.parametrize(("text", "folder"), [("apps/web", "apps/web"), ("./apps/web/", "apps/web"), (".", ".")])
def test_the_apps_folder_is_a_path_inside_the_set(text: str, folder: str) -> None:
    assert load({**LEAST, "APP_DIR": text}).app_dir == folder


def test_two_ports_that_are_the_same_are_refused() -> None:
    assert "DEV_PORT is 3000 (it takes a port other than PORT's)" in refusal(DEV_PORT="3000")
    assert "AGENT_PORT is 3001 (it takes a port other than DEV_PORT's)" in refusal(AGENT_PORT="3001")


def test_the_state_never_lies_inside_the_workspace_also_not_by_a_link(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (tmp_path / "link").symlink_to(workspace)
    for state in (workspace, workspace / "state", tmp_path / "link" / "state"):
        assert "it takes a folder outside WORKSPACE" in refusal(WORKSPACE=str(workspace), STATE_DIR=str(state))


def test_the_machines_name_is_flys_where_there_is_one() -> None:
    assert load({**LEAST, "FLY_MACHINE_ID": "e2865"}, hostname=lambda: "laptop").machine == "e2865"


def test_a_fly_machine_is_known_by_both_of_flys_names_and_its_socket_is_where_fly_puts_it() -> None:
    settings = load({**LEAST, "FLY_MACHINE_ID": "e2865", "FLY_APP_NAME": "preview-shop"})
    assert settings.fly == FlyMachine("preview-shop", "e2865", Path("/.fly/api"))
    for missing in ("FLY_MACHINE_ID", "FLY_APP_NAME"):
        one = {"FLY_MACHINE_ID": "e2865", "FLY_APP_NAME": "preview-shop"} | {missing: ""}
        assert load({**LEAST, **one}).fly is None


class TestTheKey:
    def test_it_is_read_from_the_environment_or_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("  from-file\n")
        from_file = load({**LEAST, "API_KEY_FILE": str(file)}).api_key
        from_both = load({**LEAST, "API_KEY_FILE": str(file), "API_KEY": "from-environment"}).api_key
        assert from_file is not None
        assert from_both is not None
        assert (from_file.reveal(), from_both.reveal()) == ("from-file", "from-environment")

    def test_a_file_that_cannot_be_used_is_named_with_the_reason(self, tmp_path: Path) -> None:
        empty, binary = tmp_path / "empty", tmp_path / "binary"
        empty.write_text("\n")
        binary.write_bytes(b"\xff\xfe")
        assert "No such file or directory" in refusal(API_KEY_FILE=str(tmp_path / "none"))
        assert "this one is empty" in refusal(API_KEY_FILE=str(empty))
        assert "it is not UTF-8 text" in refusal(API_KEY_FILE=str(binary))

    @pytest.mark.parametrize("key", ["with space", "with\nnewline", "schlüssel", "tab\t."])
    def test_one_that_would_break_a_header_is_refused_and_not_shown(self, key: str) -> None:
        message = refusal(API_KEY=key)
        assert "API_KEY is a value that is not shown" in message
        assert key not in message

    @given(key=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12))
    def test_no_repr_shows_it(self, key: str) -> None:
        assume(key not in repr(load(LEAST)))  # it may be a word that stands there anyway
        settings = load({**LEAST, "API_KEY": key})
        assert settings.api_key is not None
        assert settings.api_key.reveal() == key
        for shown in (repr(settings), str(settings), f"{settings.api_key}", repr(dataclasses.astuple(settings))):
            assert key not in shown


def test_a_secret_has_no_attribute_to_read_it_by_mistake() -> None:
    assert not hasattr(Secret("x"), "__dict__")
    assert str(Secret("hunter2")) == repr(Secret("hunter2")) == "Secret(…)"


def test_every_default_of_the_table_is_a_value_that_its_row_takes() -> None:
    for row in TABLE:
        if row.default is not None:
            row.parse(row.default)
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_whatever_the_environment_holds_loading_ends_in_settings_or_a_refusal() -> None:
    names = st.sampled_from([row.name for row in config.TABLE])

    @given(st.dictionaries(names, st.text()))
    def check(environ: dict[str, str]) -> None:
        try:
            settings = load(environ)
        except ConfigError:
            return
        assert settings.api_url.startswith("http")

    check()
