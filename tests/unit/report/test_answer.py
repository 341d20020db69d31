from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agent.clock import rfc3339
from agent.errors import AgentError, BackendError, BadAnswer, Throttled, Unauthorized
from agent.report.answer import ReportAnswer, read_answer

WALL = 1_795_341_600.0  # 2026-11-22T10:00:00Z


def understood(status: int, data: bytes, **headers: str) -> ReportAnswer:
    return read_answer(
        status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), data, wall=WALL
    )


class TestReadAnswer:
    def test_success_is_success(self) -> None:
        assert understood(200, b'{"success": true}') == ReportAnswer(served=True)

    @pytest.mark.parametrize("data", [b"", b" \n"])
    def test_a_backend_that_says_nothing_was_told(self, data: bytes) -> None:
        assert understood(204, data) == ReportAnswer(served=True)

    @pytest.mark.parametrize(
        "moment",
        [
            "2026-11-22T10:00:00Z",
            "2026-11-22t10:00:00.123456z",
            "2026-11-22T10:00:00.123456789Z",
            "2026-11-22T11:00:00+01:00",
        ],
    )
    def test_the_editors_activity_is_handed_on_as_it_was_written(self, moment: str) -> None:
        answer = understood(200, orjson.dumps({"success": True, "last_activity_at": moment}))
        assert answer == ReportAnswer(served=True, last_activity_at=moment)

    @pytest.mark.parametrize(
        "moment",
        [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22 10:00:00Z",
            "2026-13-22T10:00:00Z",
            "2026-11-22T25:00:00Z",
            "2026-11-22T10:00:00Z\n",
            "٢٠٢٦-11-22T10:00:00Z",
            1_795_341_600,
            True,
            {},
        ],
    )
    def test_a_time_that_is_none_is_remarked_and_not_used(self, moment: object) -> None:
        answer = understood(200, orjson.dumps({"success": True, "last_activity_at": moment}))
        assert (answer.served, answer.last_activity_at) == (True, None)
        assert answer.warning is not None
        assert "last_activity_at" in answer.warning

    @given(st.floats(0, 4_000_000_000))
    def test_every_time_that_the_contract_writes_is_taken(self, wall: float) -> None:
        moment = rfc3339(wall)
        assert understood(200, orjson.dumps({"last_activity_at": moment})).last_activity_at == moment

    @pytest.mark.parametrize("status", [404, 405, 501])
    def test_a_backend_without_the_endpoint_says_so_with_its_status(self, status: int) -> None:
        assert understood(status, b"<html>") == ReportAnswer(served=False)

    @pytest.mark.parametrize(
        ("status", "data", "kind", "says"),
        [
            (401, b"", Unauthorized, "refuses the key"),
            (403, b"", Unauthorized, "refuses the key"),
            (429, b"", Throttled, "429"),
            (503, b"", Throttled, "503"),
            (500, b"", BackendError, "500"),
            (400, b"", BackendError, "400"),
            (302, b"", BackendError, "redirects"),
            (200, b"<html>sign in", BadAnswer, "not JSON"),
            (200, b'{"success": ', BadAnswer, "not JSON"),
            (200, b"[]", BadAnswer, "not a JSON object"),
            (200, b'{"success": false, "error": "no table"}', BadAnswer, "no table"),
        ],
    )
    def test_what_failed_is_said_by_its_kind(self, status: int, data: bytes, kind: type[AgentError], says: str) -> None:
        with pytest.raises(kind, match=says):
            understood(status, data)

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_kept(self, status: int) -> None:
        with pytest.raises(BackendError) as raised:
            understood(status, b"", Retry_After="3")
        assert raised.value.retry_after == 3.0

    @given(st.integers(100, 599), st.binary(max_size=60))
    def test_any_answer_is_understood_or_refused_and_nothing_else_happens(self, status: int, data: bytes) -> None:
        with suppress(BackendError):
            understood(status, data)
