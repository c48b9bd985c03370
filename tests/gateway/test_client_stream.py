"""A stream of our client: no more is taken than its window, and whatever ends it leaves the connection to the others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live import Slow
from quic import Running, running
from test_client_packets import client, connection, trusted
from test_packets import only

from aimds.errors import ConfigError
from aimds.gateway.client import Options, ServerError
from aimds.gateway.pieces import Limits

__all__ = ["trusted"]


class Rows:
    """Rows without an end, or ``count`` of them; ``taken`` counts."""

    def __init__(self, count: int | None = None) -> None:
        self._numbers = itertools.count() if count is None else iter(range(count))
        self.taken = 0

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        for number in self._numbers:
            self.taken += 1
            return {"text": "a", "request_id": str(number)}
        raise StopAsyncIteration


async def whole(stream: AsyncIterator[dict[str, Any]]) -> None:
    async with asyncio.timeout(20):
        async for _ in stream:
            pass


async def until_nothing_is_open(one: Running) -> None:
    async with asyncio.timeout(20):
        while only(one)._requests or one.service.batcher.queued_rows:
            await asyncio.sleep(0.01)


def test_who_takes_no_verdicts_is_asked_for_no_more_rows_than_the_window(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, window_rows=8) as ours:
            rows = Rows(500)
            stream = ours.stream(rows, brief=True)
            found = [await anext(stream)]
            for _ in range(20):
                # The others go on, and all that could come has come when they are answered.
                assert (await ours.screen("a"))["action"] == "allow"
            assert rows.taken - len(found) <= 8
            found += [verdict async for verdict in stream]
            assert sorted(int(verdict["request_id"]) for verdict in found) == list(range(500))
            assert not [stream for stream in connection(ours).streams if not stream & 3]

    running(test)


def test_a_window_of_one_row_gives_each_verdict_before_the_next_row_is_taken(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, window_rows=1) as ours:
            rows = Rows(20)
            taken = [(verdict["request_id"], rows.taken) async for verdict in ours.stream(rows)]
            assert taken == [(str(number), number + 1) for number in range(20)]

    running(test)


def test_a_window_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window_rows"):
        Options(window_rows=0)


def test_a_stream_that_is_closed_early_is_broken_off_and_the_connection_goes_on(trusted: Path) -> None:
    async def test(one: Running) -> None:
        async with client(one.port, trusted, window_rows=64) as ours:
            rows = Rows()
            async with contextlib.aclosing(ours.stream(rows, brief=True)) as stream:
                await anext(stream)
            below, taken = connection(ours), rows.taken
            await until_nothing_is_open(one)
            assert (await ours.screen("a"))["action"] == "allow"
            assert rows.taken == taken
            assert connection(ours) is below
            async with asyncio.timeout(20):
                while any(not left & 3 for left in (*below.quic._streams, *only(one).quic._streams)):
                    await asyncio.sleep(0.01)

    running(test)


def test_what_goes_wrong_with_the_rows_is_raised_where_verdicts_are_taken(trusted: Path) -> None:
    async def wrong() -> AsyncIterator[dict[str, Any]]:
        yield {"text": "a"}
        raise ConnectionError("of the source")

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as ours:
            with pytest.raises(ConnectionError, match="of the source"):
                await whole(ours.stream(wrong()))
            await until_nothing_is_open(one)
            assert (await ours.screen("a"))["action"] == "allow"

    running(test)


def test_a_stream_that_ends_before_each_row_was_answered_says_so(trusted: Path) -> None:
    async def endless() -> AsyncIterator[dict[str, Any]]:
        for number in itertools.count():
            yield {"text": "a", "request_id": str(number)}
            await asyncio.sleep(0.001)

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as ours:
            stream = ours.stream(endless(), brief=True)
            await anext(stream)
            one.service.drain(asyncio.get_running_loop().time())
            with pytest.raises(ServerError, match="ended early"):
                await whole(stream)

    running(test)


def test_a_stream_that_ends_before_rows_were_answered_that_had_all_been_sent_says_so(trusted: Path) -> None:
    screener = Slow()

    async def long() -> AsyncIterator[dict[str, Any]]:
        async for row in Rows(20):
            yield {**row, "text": "a" * 8000}

    async def test(one: Running) -> None:
        async with client(one.port, trusted) as ours:
            stream = ours.stream(long(), brief=True)
            first = asyncio.ensure_future(anext(stream))
            assert await asyncio.to_thread(screener.entered.wait, 20)
            async with asyncio.timeout(20):
                while not all(request.over for request in only(one)._requests.values()):
                    await asyncio.sleep(0.01)
            # The gateway has taken in one line, the window being one row, and gives up what it has not read.
            one.service.drain(asyncio.get_running_loop().time())
            screener.go.set()
            assert (await first)["request_id"] == "0"
            with pytest.raises(ServerError, match="1 of 20 rows that were taken are answered"):
                await whole(stream)

    running(test, screener=screener, limits=Limits(deadline_ms=20_000, window_rows=1))


def test_a_stream_that_is_refused_stops_its_rows_and_leaves_no_error_for_the_loop_to_tell(trusted: Path) -> None:
    told = []

    async def endless() -> AsyncIterator[dict[str, Any]]:
        while True:
            yield {"text": "a"}
            await asyncio.sleep(0)

    async def test(one: Running) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with client(one.port, trusted) as ours:
            await ours.screen("a")
            one.service.draining = True
            with pytest.raises(ServerError) as caught:
                await whole(ours.stream(endless()))
            assert caught.value.status == 503

    running(test)
    assert told == []
