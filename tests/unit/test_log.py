from __future__ import annotations

import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from agent.config import Secret
from agent.log import HIDDEN, configure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_in_a_container_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(terminal=False)
    structlog.get_logger().info("sync.applied", revision=214, path="a\nb")
    (line,) = capsys.readouterr().out.splitlines()
    event = orjson.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "sync.applied", "level": "info", "revision": 214, "path": "a\nb"}


def test_a_value_that_json_does_not_know_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure(terminal=False)
    structlog.get_logger().info("sync.started", key=Secret("hunter2"))
    assert orjson.loads(capsys.readouterr().out)["key"] == "Secret(…)"


def test_on_a_terminal_it_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure(terminal=True)
    structlog.get_logger().info("sync.applied", revision=214)
    line = capsys.readouterr().out
    assert "sync.applied" in line
    assert "214" in line
    assert not line.startswith("{")


def test_debug_events_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure(terminal=False)
    structlog.get_logger().debug("sync.asked")
    assert capsys.readouterr().out == ""


def test_warnings_of_libraries_end_in_the_same_stream_and_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure(terminal=False)
    logging.getLogger("aiohttp.client").warning("slow %s", "peer")
    logging.getLogger("aiohttp.client").info("not shown")
    event = orjson.loads(capsys.readouterr().out)
    assert (event["event"], event["level"]) == ("slow peer", "warning")


@pytest.mark.parametrize("terminal", [False, True])
class TestSecrets:
    def test_their_text_is_blanked_wherever_it_turns_up(
        self, *, terminal: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(terminal=terminal, secrets=[Secret("hunter2")])
        structlog.get_logger().warning("sync.failed", message="401 for Bearer hunter2", url="http://x/?k=hunter2")
        logging.getLogger("aiohttp.client").error("header %r", "Bearer hunter2")
        out = capsys.readouterr().out
        assert "hunter2" not in out
        assert out.count(HIDDEN) == 3

    def test_also_in_a_traceback(self, *, terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
        configure(terminal=terminal, secrets=[Secret("hunter2")])
        try:
            raise ValueError("Bearer hunter2")
        except ValueError:
            structlog.get_logger().exception("sync.crashed")
            logging.getLogger("aiohttp.server").exception("unhandled")
        out = capsys.readouterr().out
        assert "ValueError" in out
        assert "hunter2" not in out

    def test_also_inside_lists_and_mappings(self, *, terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
        configure(terminal=terminal, secrets=[Secret("hunter2")])
        structlog.get_logger().warning("peer.said", lines=["Bearer hunter2"], headers={"Authorization": "hunter2"})
        assert "hunter2" not in capsys.readouterr().out
