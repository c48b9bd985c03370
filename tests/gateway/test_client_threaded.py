"""A stream of the client for code that waits, against a gateway on loopback."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import ATTACK
from live import Live, live
from test_client import folder, options, settings, url

from aimds import Client
from aimds.errors import ConfigError
from aimds.gateway.client import ServerError

__all__ = ["folder"]


class Rows:
    """Rows without an end, or ``count`` of them; ``taken`` counts."""

    def __init__(self, count: int | None = None) -> None:
        self._numbers = itertools.count() if count is None else iter(range(count))
        self.taken = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        number = next(self._numbers)
        self.taken += 1
        return {"text": ATTACK if number == 7 else "a", "request_id": str(number)}


def eventually(condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def takers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aimds-rows"]


def only_client(server: Live) -> bool:
    """Whether nothing is open but the connection of a client."""
    return not server.gateway.service.open_requests and not server.gateway.service.batcher.queued_rows


def test_a_stream_gives_a_verdict_of_each_row(folder: Path) -> None:
    with live(settings(folder)) as server, Client(url(server), deadline_ms=20_000, **options(folder, 3)) as client:
        found = {one["request_id"]: one for one in client.stream(Rows(3000), brief=True)}
        assert sorted(map(int, found)) == list(range(3000))
        assert [found[name]["action"] for name in ("6", "7", "8")] == ["allow", "block", "allow"]
        assert list(client.stream(iter(()))) == []
        eventually(lambda: not takers())


def test_who_takes_no_verdicts_is_asked_for_no_more_rows_than_the_window(folder: Path) -> None:
    with live(settings(folder)) as server, Client(url(server), window_rows=8, **options(folder, 3)) as client:
        rows = Rows(500)
        stream = client.stream(rows)
        assert rows.taken == 0
        found = [next(stream)]
        for _ in range(20):
            # The others go on, and all that could come has come when they are answered.
            assert client.screen("a")["action"] == "allow"
        assert rows.taken <= len(found) + 8
        found += list(stream)
        assert sorted(int(one["request_id"]) for one in found) == list(range(500))


def test_a_row_that_is_waited_for_keeps_no_verdict_back(folder: Path) -> None:
    waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    with live(settings(folder)) as server, Client(url(server), **options(folder, 3)) as client:
        stream = client.stream(iter(waiting.get, None))
        for number in range(20):
            waiting.put({"text": "a", "request_id": str(number)})
            assert next(stream)["request_id"] == str(number)
            assert client.screen("b")["action"] == "allow"
        waiting.put(None)
        assert list(stream) == []


@pytest.mark.parametrize("how", ["closed", "let go of", "left by an error"])
def test_a_stream_that_is_given_up_is_broken_off_and_the_connection_goes_on(folder: Path, how: str) -> None:
    with live(settings(folder)) as server, Client(url(server), window_rows=64, **options(folder, 3)) as client:
        client.screen("a")
        below, rows = client._client._quic, Rows()
        stream = client.stream(rows, brief=True)
        next(stream)
        if how == "closed":
            stream.close()
        elif how == "left by an error":
            with pytest.raises(KeyError):
                stream.throw(KeyError("elsewhere"))
        del stream
        eventually(lambda: not takers() and only_client(server))
        taken = rows.taken
        assert client.screen("a")["action"] == "allow"
        assert client._client._quic is below
        assert rows.taken == taken
        assert not client._pumps


def test_a_stream_that_is_given_up_while_a_row_is_waited_for_ends_all_the_same(folder: Path) -> None:
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    with live(settings(folder)) as server, Client(url(server), **options(folder, 3)) as client:
        waiting.put({"text": "a"})
        stream = client.stream(iter(waiting.get, None))
        next(stream)
        stream.close()
        eventually(lambda: only_client(server))
        waiting.put({"text": "too late"})
        eventually(lambda: not takers())


@pytest.mark.parametrize("error", [ConnectionError("of the source"), SystemExit("of the source")])
def test_what_goes_wrong_with_the_rows_is_raised_where_verdicts_are_taken(folder: Path, error: BaseException) -> None:
    def wrong() -> Iterator[dict[str, Any]]:
        yield {"text": "a"}
        raise error

    with live(settings(folder)) as server, Client(url(server), **options(folder, 3)) as client:
        with pytest.raises(type(error), match="of the source"):
            list(client.stream(wrong()))
        with pytest.raises(TypeError, match="iterable"):
            list(client.stream(5))  # type: ignore[arg-type]
        assert client.screen("a")["action"] == "allow"
        eventually(lambda: only_client(server))


def test_a_stream_that_is_refused_says_so_and_over_tcp_there_is_none(folder: Path) -> None:
    with live(settings(folder)) as server:
        with (
            Client(url(server), ca=folder / "ca.pem") as client,
            pytest.raises(ServerError) as caught,
        ):
            list(client.stream(Rows()))
        assert caught.value.status == 401
        with Client(url(server), **options(folder, 1)) as client, pytest.raises(ConfigError, match="for a stream"):
            client.stream(Rows())
    eventually(lambda: not takers())


def test_a_client_that_is_closed_ends_its_streams(folder: Path) -> None:
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    told: list[Exception] = []
    begun = threading.Event()

    def take() -> None:
        try:
            for _ in client.stream(iter(waiting.get, None)):
                begun.set()
        except ServerError as error:
            told.append(error)

    with live(settings(folder)) as server:
        client = Client(url(server), **options(folder, 3))
        other = threading.Thread(target=take)
        other.start()
        waiting.put({"text": "a"})
        assert begun.wait(60)
        client.close()
        other.join(60)
        assert not other.is_alive()
        assert [str(error) for error in told] == ["The client was closed"]
        eventually(lambda: only_client(server))
        waiting.put({"text": "too late"})
        eventually(lambda: not takers())


def test_a_stream_of_a_client_that_was_closed_before_it_began_says_so(folder: Path) -> None:
    with live(settings(folder)) as one:
        client = Client(url(one), **options(folder, 3))
        stream = client.stream([{"text": "hello"}])
        client.close()
        with pytest.raises(ServerError, match="closed"):
            next(stream)


def test_who_waits_while_a_client_ends_is_told(folder: Path) -> None:
    with live(settings(folder)) as one:
        client = Client(url(one), **options(folder, 3))
        # As if it ended before it had run anything of the stream.
        client._loop.call_soon_threadsafe(client._loop.stop)
        client._thread.join()
        with pytest.raises(ServerError, match="closed"):
            next(client.stream([{"text": "hello"}]))
        client._loop.close()
