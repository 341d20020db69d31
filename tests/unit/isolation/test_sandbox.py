from __future__ import annotations

from pathlib import Path

from agent.isolation.child_environment import for_child
from agent.isolation.sandbox import confined, kill_all_command
from agent.isolation.user import DevUser, SandboxTools

USER = DevUser(
    *("preview", 1000, 1001, Path("/home/preview"), Path("/tmp")),
    tools=SandboxTools("/b/nice", "/b/choom", "/b/prlimit", "/b/setpriv"),
)


def test_without_a_split_a_command_is_what_it_was() -> None:
    assert confined(("node", "server.js"), None) == ("node", "server.js")


def test_the_command_comes_last_and_as_it_was() -> None:
    command = ("node", "--bounding-set=+all", "-x", "--", "a b")
    assert confined(command, USER)[-5:] == command


def test_privileges_are_given_up_last_and_by_number() -> None:
    chain = confined(("node",), USER)
    places = [chain.index(tool) for tool in ("/b/nice", "/b/choom", "/b/prlimit", "/b/setpriv", "node")]
    assert places == sorted(places)
    assert {"--reuid=1000", "--regid=1001", "--clear-groups", "--no-new-privs"} <= set(chain)


def test_no_program_of_the_chain_is_looked_up_on_the_path() -> None:
    chain = confined(("node",), USER)
    starts = [0, *(place + 1 for place, word in enumerate(chain) if word == "--")]
    assert all(chain[place].startswith("/") for place in starts if chain[place] != "node")


def test_the_last_resort_ends_the_users_processes_and_could_end_no_others() -> None:
    assert kill_all_command(None) is None
    command = kill_all_command(USER)
    assert command is not None
    assert command[0] == "/b/setpriv"
    assert "--reuid=1000" in command
    assert command[-1] == "kill -KILL -1"


def test_home_and_scratch_folder_are_the_users_own() -> None:
    environ = for_child({"HOME": "/root", "TMPDIR": "/root/tmp", "API_KEY": "k", "PATH": "/bin"}, "run", USER)
    assert (environ["HOME"], environ["TMPDIR"], environ["PATH"]) == ("/home/preview", "/tmp", "/bin")
    assert "API_KEY" not in environ


def test_without_a_split_home_is_passed_on() -> None:
    assert for_child({"HOME": "/root"}, "run")["HOME"] == "/root"
