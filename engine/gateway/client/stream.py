"""A long-lived stream of a client: rows out a line each, verdicts in as each is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aioquic.h3.events import DataReceived, HeadersReceived

from aimds.gateway.client.options import Answer, ServerError, refusal
from aimds.gateway.client.quic import Quic

PORTION: Final = 16 << 10
"""Bytes of rows that are sent at once at most."""
_ENCODE, _DECODE = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def encoded(row: dict[str, Any]) -> bytes:
    """``row`` as JSON."""
    try:
        return _ENCODE(row)
    except (UnicodeEncodeError, OverflowError, TypeError):
        # A surrogate by itself, or a number beyond 64 bits: for the gateway to say.
        return json.dumps(row).encode()


async def verdicts(
    connected: Callable[[], Awaitable[Quic]],
    head: Sequence[tuple[str, str]],
    rows: AsyncIterator[dict[str, Any]],
    window_rows: int,
    wall: Callable[[], float],
) -> AsyncGenerator[dict[str, Any], None]:
    """What the gateway answers to each of ``rows``, in the order in which it comes, over a stream that ``head`` opens
    on the connection that ``connected`` gives.

    At most ``window_rows`` are under way or wait to be taken here: beyond that none is asked of ``rows``, so that who
    takes no verdicts is sent none, and nothing piles up. Given up early, the stream is broken off, and the gateway
    forgets what it has not screened. ``wall``: seconds since 1970.

    Raises:
        ServerError: refused, broke off, or ended before each row was answered.
    """
    came: asyncio.Queue[HeadersReceived | DataReceived | Exception | None] = asyncio.Queue()
    quic = await connected()
    stream = quic.begin(head, None, came.put_nowait)
    source, room, loop = aiter(rows), asyncio.Event(), asyncio.get_running_loop()
    taken = answered = 0
    # Rows are asked for again once there is room for some, so that they go together.
    enough = window_rows - max(1, window_rows // 4)
    whole = False

    async def feed() -> None:
        # Rows that come without a pause between them go together.
        nonlocal taken, whole
        held = bytearray()

        def flush() -> None:
            if held and not quic.over:
                quic.write(stream, bytes(held))
                held.clear()

        while True:
            if taken - answered >= window_rows:
                room.clear()
                await room.wait()
            try:
                row = await anext(source)
            except StopAsyncIteration:
                break
            taken += 1
            if not held:
                loop.call_soon(flush)
            held.extend(encoded(row) + b"\n")
            if len(held) >= PORTION or quic.is_full(stream):
                content = bytes(held)
                held.clear()
                await quic.send(stream, content)
        content = bytes(held)
        held.clear()
        await quic.send(stream, content, end=True)
        whole = True

    def fed(task: asyncio.Task[None]) -> None:
        # What goes wrong with the rows is for who waits for verdicts; that the connection is over is told otherwise.
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not quic.over:
            came.put_nowait(error)

    feeding = asyncio.create_task(feed())
    feeding.add_done_callback(fed)
    status, headers, held = 0, dict[str, str](), b""
    over = False
    try:
        while not over:
            event = await came.get()
            if event is None:
                raise ServerError(0, {"title": "The stream broke off"})
            if isinstance(event, Exception):
                raise event
            over = event.stream_ended
            if isinstance(event, HeadersReceived):
                headers.update((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
                status = int(headers[":status"])
            else:
                held += event.data
            if status >= 400:
                if over:
                    raise refusal(Answer(status, headers, held), wall())
                continue
            *lines, held = held.split(b"\n")
            for line in lines:
                answered += 1
                if taken - answered <= enough:
                    room.set()
                yield _DECODE(line)
        if not whole or answered < taken:
            told = f"{answered} of {taken} rows that were taken are answered"
            raise ServerError(0, {"title": "The stream ended early", "detail": told})
    finally:
        if whole and over:
            quic.streams.pop(stream, None)
        else:
            quic.cancel(stream)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
