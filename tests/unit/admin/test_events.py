"""What a stream says, without a server around it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.admin.events import events, follow_logs
from agent.admin.status_json import facts
from agent.status import Snapshot
from agent.status_board import StatusBoard
from tests.peers.admin_port import Output
from tests.peers.snapshots import READY, RUNNING, snapshots

WALL = 1_795_000_000.0


def show(now: Snapshot) -> dict[str, object]:
    return facts(now, {}, WALL)


def data(chunk: bytes) -> dict[str, Any]:
    got: dict[str, Any] = json.loads(chunk.decode().split("data: ")[1])
    return got


class TestEvents:
    @given(st.lists(snapshots(), min_size=1, max_size=3))
    async def test_whoever_applies_every_event_knows_what_status_says(self, life: list[Snapshot]) -> None:
        board = StatusBoard(RUNNING)
        told = events(board, show, interval=0.0)
        state = data(await anext(told))
        for now in [*life, RUNNING]:
            if now == board.snapshot:
                continue
            board._set(now)
            state |= data(await anext(told))
            assert state == show(now)
        await told.aclose()

    async def test_silence_is_filled_with_comments(self) -> None:
        board = StatusBoard(RUNNING)
        told = events(board, show, heartbeat=0.01)
        assert (await anext(told)).startswith(b"id: 0\n")
        assert await anext(told) == b": nothing new\n\n"
        board.dev_server(replace(READY, restarts=4))
        while (chunk := await anext(told)).startswith(b":"):
            pass
        assert chunk.startswith(b"id: 1\nevent: change\n")
        await told.aclose()

    @pytest.mark.looptime
    async def test_what_changes_faster_than_the_pace_is_told_together(self) -> None:
        board = StatusBoard(RUNNING)
        told = events(board, show, interval=1.0)
        await anext(told)
        board.dev_server(replace(READY, restarts=4))
        await anext(told)

        async def restart_often() -> None:
            for restarts in range(5, 10):
                board.dev_server(replace(READY, restarts=restarts))
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            group.create_task(restart_often())
            assert data(await anext(told))["dev_server"]["restarts"] == 9
        await told.aclose()

    async def test_a_fact_that_came_and_went_is_not_told(self) -> None:
        board = StatusBoard(RUNNING)
        told = events(board, show, heartbeat=0.05, interval=0.0)
        await anext(told)
        board.dev_server(replace(READY, restarts=4))
        board.dev_server(READY)
        assert await anext(told) == b": nothing new\n\n"
        await told.aclose()


class TestFollowed:
    async def test_a_reader_that_stops_early_is_no_follower_any_more(self) -> None:
        output = Output("a", "b")
        chunks = follow_logs(output, 1)
        assert await anext(chunks) == b"b\n"
        output.say("c")
        assert await anext(chunks) == b"c\n"
        assert len(output.followers) == 1
        await chunks.aclose()
        assert output.followers == []

    async def test_a_line_that_comes_while_the_kept_ones_are_sent_is_neither_lost_nor_repeated(self) -> None:
        output = Output("a")
        chunks = follow_logs(output, 1000)
        assert await anext(chunks) == b"a\n"
        output.kept.append("b")
        output.say("b")
        assert await anext(chunks) == b"b\n"
        output.say(None)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
