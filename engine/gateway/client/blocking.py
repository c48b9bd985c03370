"""`Client`: the client for code that waits, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa

from aimds.gateway.client.asynchronous import AsyncClient
from aimds.gateway.client.options import Answer, Options
from aimds.gateway.client.threaded import Rows, verdicts

T = TypeVar("T")


class Client:
    """`AsyncClient` for code that waits, on a thread of its own; use it as ``with Client(url) as client``."""

    def __init__(self, url: str, options: Options | None = None, **changed: Any) -> None:
        self._client = AsyncClient(url, options, **changed)
        self._pumps: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_unasked)
        self._thread = threading.Thread(target=self._loop.run_forever, name="aimds-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def screen(self, text: str, **fields: Any) -> dict[str, Any]:
        """As `AsyncClient.screen`."""
        return self._run(self._client.screen(text, **fields))

    def screen_table(self, table: pa.Table) -> pa.Table:
        """As `AsyncClient.screen_table`."""
        return self._run(self._client.screen_table(table))

    def request(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """As `AsyncClient.request`."""
        return self._run(self._client.request(method, target, body, headers))

    def stream(self, rows: Iterable[dict[str, Any]], *, brief: bool = False) -> Generator[dict[str, Any], None, None]:
        """As `AsyncClient.stream`. ``rows`` are taken on a thread of their own, so that one that is waited for keeps no
        verdict back; the first is taken with the first verdict that is asked for. Closed early, or let go of, the
        stream is broken off, and a row that is being waited for is dropped when it comes.

        Raises:
            ServerError: the stream was refused, broke off, or ended before each row was answered.
            ConfigError: over TCP there is no stream.
        """
        self._client.check_stream()
        source = Rows(rows, self._loop, self._client.options.window_rows)
        return verdicts(self._loop, self._pumps, source, lambda given: self._client.stream(given, brief=brief))

    def close(self) -> None:
        """Close the connection and end the thread; streams that are open end with it."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        pumps = list(self._pumps)
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await self._client.close()


def _unasked(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A connection that was given up breaks off later, when nobody waits for it any more.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
