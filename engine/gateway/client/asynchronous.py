"""`AsyncClient`, over HTTP/3 or the TCP twin, with one connection for all requests.

A refusal that says when to come again is obeyed, with some chance in it so that clients do not come back together; each
request carries a key, so that one sent twice is screened once.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from random import Random
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
from aioquic.h3.events import DataReceived, HeadersReceived

from aimds.errors import ConfigError
from aimds.gateway.client.options import Answer, Options, ServerError, checked, refusal
from aimds.gateway.client.quic import Quic, opened
from aimds.gateway.client.stream import encoded, verdicts
from aimds.gateway.client.tcp import connection
from aimds.gateway.client.unanswered import unanswered, untrusted, without_tls
from aimds.gateway.headers import ARROW, DEADLINE, JSON, KEY, NDJSON

AGAIN = frozenset({429, 503})
"""Statuses that a later try may change."""
MOST_STREAMS = 100
"""Requests of one client at once, fewer than a gateway takes, so that none waits for leave to begin."""
FIRST_WAIT_S = 0.05
CHUNK_ROWS = 1024
"""Rows of a table that are sent as one batch: the gateway screens the first while the next come."""
_DECODE = msgspec.json.Decoder().decode


class AsyncClient:
    """Talks to the gateway at ``url``; use it as ``async with AsyncClient(url) as client``.

    Args:
        url: ``https://host:port``, or ``http://host:port`` for a gateway with ``--insecure-local``.
        options: see `Options`; keywords change single ones.
        random: for the wait before another try; ``sleep`` does the waiting. wall: seconds since 1970, for dates in
            Retry-After.

    Raises:
        ConfigError: an address or option that cannot be.
    """

    def __init__(
        self,
        url: str,
        options: Options | None = None,
        *,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
        **changed: Any,
    ) -> None:
        base = options or Options()
        self.options = base if not changed else Options(**{**_fields(base), **changed})
        self._url = checked(url)
        self._random, self._sleep, self._wall = random or Random(), sleep, wall
        self._stack = contextlib.AsyncExitStack()
        self._quic: Quic | None = None
        self._tcp: http.client.HTTPConnection | None = None
        self._lock, self._room = asyncio.Lock(), asyncio.Semaphore(MOST_STREAMS)
        self._name = self._random.randbytes(8).hex()
        self._count = 0

    @property
    def is_quic(self) -> bool:
        """Whether HTTP/3 is spoken."""
        return self._url.scheme == "https" and self.options.http == 3

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._stack.aclose()
        self._quic = None
        self._hang_up()

    def _hang_up(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None

    async def screen(self, text: str, **fields: Any) -> dict[str, Any]:
        """The verdict on ``text``; ``fields`` are further members of the request, such as ``session_id``, ``channel``.

        Raises:
            ServerError: refused, or no answer, after the last try.
        """
        body = encoded({"text": text, **fields})
        self._count += 1
        key = {"content-type": JSON, KEY: f"{self._name}-{self._count}"}
        answer = await self.request("POST", "/v1/screen", body, key)
        found: dict[str, Any] = _DECODE(answer.body)
        return found

    async def screen_table(self, table: pa.Table) -> pa.Table:
        """Verdicts of a table with a ``text`` column, same rows, same order.

        Raises:
            ServerError: refused, or no answer, after the last try.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=CHUNK_ROWS)
        self._count += 1
        key = {"content-type": ARROW, KEY: f"{self._name}-{self._count}"}
        answer = await self.request("POST", "/v1/screen/batch", sink.getvalue().to_pybytes(), key)
        return pa.ipc.open_stream(answer.body).read_all()

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Any request, tried again where that may help.

        Raises:
            ServerError: as `screen`.
        """
        problem = ServerError(0, {"title": "No answer"})
        for attempt in range(self.options.attempts):
            if attempt:
                await self._sleep(self._wait_s(attempt, problem))
            began = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self.options.timeout_s):
                    answer = await self._once(method, target, body, self._headers(headers or {}))
            except ssl.SSLCertVerificationError as error:
                await self.close()
                raise untrusted(self._url, error.verify_message) from None
            except (OSError, TimeoutError, http.client.HTTPException, ssl.SSLError) as error:
                if self._quic is not None and self._quic.is_dead(began):
                    await self.close()
                if (mistaken := without_tls(self._url, error)) is not None:
                    raise mistaken from None
                problem = unanswered(self._url, error, self.options)
                continue
            if answer.status < 400:
                return answer
            problem = refusal(answer, self._wall())
            if answer.status not in AGAIN:
                break
        raise problem

    def _wait_s(self, attempt: int, problem: ServerError) -> float:
        """Seconds to wait before ``attempt``, never fewer than ``problem`` says; raises it where that is too long."""
        told, longest = problem.retry_after_s or 0.0, self.options.longest_wait_s
        # A verdict that is due before would be of no use.
        due_s = longest if self.options.deadline_ms is None else self.options.deadline_ms / 1e3
        if told > min(longest, due_s):
            raise problem
        wait: float = max(told, FIRST_WAIT_S * 2 ** (attempt - 1)) * (1 + self._random.random() / 2)
        return min(wait, longest)

    def stream(
        self, rows: AsyncIterator[dict[str, Any]], *, brief: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Verdicts of ``rows`` as each is ready, matched by ``request_id``, over one long-lived stream of HTTP/3.

        Of ``rows`` no more are taken than ``window_rows`` (see `Options`) beyond the verdicts that were taken here.
        What the gateway refuses comes as a row with ``problem``. What ``rows`` raises is raised here.

        Raises:
            ServerError: the stream was refused, broke off, or ended before each row was answered.
            ConfigError: over TCP there is no stream.
        """
        self.check_stream()
        target = "/v1/screen/stream" + ("?verdict=brief" if brief else "")
        head = self._head("POST", target, self._headers({"content-type": NDJSON}))
        return verdicts(self._connected, head, rows, self.options.window_rows, self._wall)

    def check_stream(self) -> None:
        """Raise a ConfigError where there is no stream, as over TCP."""
        if not self.is_quic:
            raise ConfigError("http", 1, "3 for a stream")

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        found = dict(more)
        if self.options.token is not None:
            found["authorization"] = f"Bearer {self.options.token}"
        if self.options.deadline_ms is not None:
            found[DEADLINE] = f"{self.options.deadline_ms:g}"
        return found

    def _head(self, method: str, target: str, headers: dict[str, str]) -> list[tuple[str, str]]:
        first = ((":method", method), (":scheme", "https"), (":authority", self._url.netloc), (":path", target))
        return [*first, *headers.items()]

    async def _once(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        if not self.is_quic:
            async with self._lock:
                try:
                    return await asyncio.to_thread(self._over_tcp, method, target, body, headers)
                except BaseException:
                    # What is left of an answer would be read as that to the next request.
                    self._hang_up()
                    raise
        async with self._room:
            return await self._over_quic(method, target, body, headers)

    async def _over_quic(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        quic = await self._connected()
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        found: dict[str, str] = {}
        parts: list[bytes] = []

        def told(event: HeadersReceived | DataReceived | None) -> None:
            if done.done():
                return
            if event is None:
                done.set_exception(ConnectionError("the connection broke off"))
                return
            if isinstance(event, HeadersReceived):
                found.update((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
            else:
                parts.append(event.data)
            if event.stream_ended and ":status" not in found:
                done.set_exception(ConnectionError("the answer ended before its head"))
            elif event.stream_ended:
                done.set_result(Answer(int(found[":status"]), found, b"".join(parts)))

        key = headers.pop(KEY, None)
        stream = quic.begin(self._head(method, target, headers), body, told, more=() if key is None else ((KEY, key),))
        try:
            return await done
        finally:
            if done.done() and not done.cancelled():
                quic.streams.pop(stream, None)
            else:
                # Given up, by its time limit or by who asked: the other requests of the connection go on.
                quic.cancel(stream)

    async def _connected(self) -> Quic:
        async with self._lock:
            if self._quic is None or self._quic.over:
                await self._stack.aclose()
                self._quic = await opened(self._url, self.options, self._stack)
            return self._quic

    def _over_tcp(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        tcp = self._tcp
        if tcp is None:
            tcp = self._tcp = connection(self._url, self.options)
        tcp.request(method, target, body, headers)
        answer = tcp.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__dataclass_fields__}
