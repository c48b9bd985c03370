"""A stream for code that waits: rows are taken on a thread of their own, the stream runs on the loop of the client."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from typing import Any, Final

from aimds.gateway.client.options import ServerError

Row = dict[str, Any]
Stream = Callable[[AsyncIterator[Row]], AsyncGenerator[Row, None]]
_END: Final = object()
_FAILED: Final = object()
_LOOKED_S = 0.5
"""How often who waits for a verdict looks whether the client is still there."""


class RowsFailed(Exception):
    """What gives the rows has raised something."""


class Rows:
    """``rows``, taken on a thread of their own while there is room for them, given on ``loop``: whoever gives them may
    wait as long as they like."""

    def __init__(self, rows: Iterable[Row], loop: asyncio.AbstractEventLoop, window_rows: int) -> None:
        self._rows, self._loop = rows, loop
        self._room, self._more = threading.Semaphore(window_rows), asyncio.Event()
        self._held: deque[Any] = deque()
        self._over = False
        self.error: BaseException | None = None
        """What they raised."""

    def begin(self) -> None:
        """Take the first."""
        threading.Thread(target=self._take, name="aimds-rows", daemon=True).start()

    def taken(self) -> None:
        """A verdict was taken: there is room for one more row."""
        self._room.release()

    def end(self) -> None:
        """Take no more. One that is being waited for is dropped when it comes."""
        self._over = True
        self._room.release()

    def _take(self) -> None:
        try:
            rows = iter(self._rows)
            while True:
                self._room.acquire()
                if self._over:
                    return
                self._hand(next(rows))
        except StopIteration:
            self._hand(_END)
        except BaseException as error:  # for who takes the verdicts, whatever it is
            self.error = error
            self._hand(_FAILED)

    def _hand(self, row: Any) -> None:
        self._held.append(row)
        # Where another stands before it, who takes them is awake, or will be.
        if len(self._held) == 1:
            with contextlib.suppress(RuntimeError):  # the client was closed
                self._loop.call_soon_threadsafe(self._more.set)

    async def given(self) -> AsyncGenerator[Row, None]:
        """Each row.

        Raises:
            RowsFailed: ``error`` says with what.
        """
        while True:
            while self._held:
                row = self._held.popleft()
                if row is _END:
                    return
                if row is _FAILED:
                    raise RowsFailed
                yield row
            self._more.clear()
            if not self._held:
                await self._more.wait()


def verdicts(
    loop: asyncio.AbstractEventLoop, pumps: set[asyncio.Task[Any]], rows: Rows, stream: Stream
) -> Generator[Row, None, None]:
    """What ``stream`` gives for ``rows`` on ``loop``; ``pumps`` holds what is to be cancelled there with the client.

    Raises:
        ServerError: as the stream, or the client was closed.
    """
    # Bounded by the rows, of which no more are taken than there is room for.
    came: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def pump() -> None:
        task = asyncio.current_task()
        assert task is not None
        pumps.add(task)
        try:
            async with contextlib.aclosing(stream(rows.given())) as found:
                async for verdict in found:
                    came.put(verdict)
            came.put(_END)
        except Exception as error:  # for who takes the verdicts
            came.put(error)
        finally:
            pumps.discard(task)
            came.put(_closed())

    work = pump()
    try:
        pumping = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise _closed() from None
    try:
        rows.begin()
        while (found := _next(came, loop)) is not _END:
            if isinstance(found, Exception):
                raise rows.error or found if isinstance(found, RowsFailed) else found
            rows.taken()
            yield found
    finally:
        rows.end()
        pumping.cancel()
        if not loop.is_running():
            work.close()


def _next(came: queue.SimpleQueue[Any], loop: asyncio.AbstractEventLoop) -> Any:
    # Closed while a stream begins, the loop may end before it has run anything of it.
    while True:
        try:
            return came.get(timeout=_LOOKED_S)
        except queue.Empty:
            if not loop.is_running():
                return _closed()


def _closed() -> ServerError:
    return ServerError(0, {"title": "The client was closed"})
