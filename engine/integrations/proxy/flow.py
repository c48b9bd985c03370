"""A streamed answer on its way out: read as it comes, judged window by window, let go as soon as it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from aimds.integrations.proxy.shapes import Refusal
from aimds.integrations.proxy.stream import Stream
from aimds.integrations.proxy.track import Track, Window
from aimds.integrations.proxy.upstream import UpstreamError
from aimds.integrations.proxy.wire import Refused

AHEAD_BYTES = 1 << 20
"""Of a stream that may wait to be judged before no more is read."""

Judge = Callable[[int, Track, Window], Coroutine[Any, Any, Any]]
Take = Callable[[Stream, Track, Window, dict[str, Any]], None]


class Flow:
    """Reads a streamed answer and has its windows judged meanwhile.

    Args:
        judge: the verdict on the window of that number.
        take: gives a verdict to the stream; raises `Refused` where the answer ends there.
        content: bytes of the answer, as they come.
    """

    def __init__(self, judge: Judge, take: Take, stream: Stream, content: AsyncIterator[bytes]) -> None:
        self._judge, self._take, self._stream, self._content = judge, take, stream, content
        self._judging: dict[asyncio.Task[Any], tuple[Track, Window]] = {}
        self._reading: asyncio.Task[bytes | None] | None = None
        self._broken: UpstreamError | None = None
        self._count = 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What may leave, as soon as it may."""
        try:
            while not self._stream.finished:
                self._read_on()
                tasks: set[asyncio.Task[Any]] = {*self._judging, *([self._reading] if self._reading else [])}
                if not tasks:
                    raise Refused(Refusal(500, "internal", "a part of the answer was never judged"))
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                self._advance()
                if out := self._stream.take():
                    yield out
            if self._broken is not None:
                raise self._broken
        finally:
            left = [*self._judging, *([self._reading] if self._reading else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _read_on(self) -> None:
        if self._reading is None and not self._stream.over and self._stream.size < AHEAD_BYTES + self._free():
            self._reading = asyncio.create_task(self._next())

    def _free(self) -> int:
        # While nothing is being judged, only more of the answer brings anything on.
        return 0 if self._judging else 1 << 40

    async def _next(self) -> bytes | None:
        return await anext(self._content, None)

    def _advance(self) -> None:
        for task in [task for task in self._judging if task.done()]:
            self._take(self._stream, *self._judging.pop(task), task.result())
        if self._reading is not None and self._reading.done():
            reading, self._reading = self._reading, None
            try:
                piece = reading.result()
            except UpstreamError as error:
                # What came before is judged and let go; then the client is told.
                self._broken, piece = error, None
            if piece is None:
                self._stream.end()
            else:
                self._stream.feed(piece)
        for track, window in self._stream.windows():
            task = asyncio.create_task(self._judge(self._count, track, window))
            self._judging[task] = (track, window)
            self._count += 1
