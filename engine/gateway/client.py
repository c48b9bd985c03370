"""The client: `AsyncClient` and `Client`, over HTTP/3 or the TCP twin, with one connection for all requests.

A refusal that says when to come again is obeyed, with some chance in it so that clients do not come back together; each
request carries a key, so that one sent twice is screened once.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

import pyarrow as pa
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent, StreamReset

from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway.headers import ARROW, DEADLINE, JSON, NDJSON

T = TypeVar("T")
AGAIN = frozenset({429, 503})
"""Statuses that a later try may change."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0
DISTRUST = frozenset(0x100 + alert for alert in (42, 43, 44, 45, 46, 48))
"""What a QUIC connection ends with where a certificate is bad, unsupported, revoked, expired, unknown or of an unknown
CA: the TLS alerts (RFC 8446, section 6.2) as RFC 9001, section 4.8, carries them."""
SEND_BUFFER = 1 << 20
MOST_STREAMS = 100
"""Requests of one client at once, fewer than a gateway takes: for every packet aioquic walks all streams, also those
that wait for leave to begin."""


class ServerError(AimdsError):
    """The gateway refused: ``status`` and the members of its problem body in ``problem``. Status 0: no answer came."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        title, detail = problem.get("title", f"status {status}"), problem.get("detail", "")
        super().__init__(f"{title}: {detail}" if detail else str(title))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a gateway.

    ``token``: an API key or a JWT · ``ca``: PEM that signs the server, the system's CAs by default · ``certificate``,
    ``key``: of the client, PEM · ``http``: 3 or 1 for the TCP twin · ``attempts``: tries of one request in all ·
    ``deadline_ms``: within which each verdict is asked for · ``timeout_s``: until an answer is given up ·
    ``connect_s``: until a gateway that says nothing at all over HTTP/3 is given up, without another try.
    """

    token: str | None = None
    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    http: int = 3
    attempts: int = 4
    deadline_ms: float | None = None
    timeout_s: float = 60.0
    connect_s: float = 5.0

    def __post_init__(self) -> None:
        if self.http not in (1, 3):
            raise ConfigError("http", self.http, "3, or 1 for the TCP twin")
        if self.attempts < 1:
            raise ConfigError("attempts", self.attempts, "at least 1")


class _Quic(QuicConnectionProtocol):
    """One HTTP/3 connection; each stream has a queue of what came on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http: H3Connection | None = None
        self.streams: dict[int, asyncio.Queue[HeadersReceived | DataReceived | None]] = {}
        self.over = False
        self.distrust = ""
        """Why the server's certificate was not accepted, where that ended the connection."""
        self.room = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand events to their streams."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        elif isinstance(event, ConnectionTerminated):
            self.over = True
            if event.error_code in DISTRUST:
                self.distrust = event.reason_phrase or "it was refused"
            for queue in self.streams.values():
                queue.put_nowait(None)
        elif isinstance(event, StreamReset) and event.stream_id in self.streams:
            self.streams[event.stream_id].put_nowait(None)
        for found in self._http.handle_event(event) if self._http is not None else ():
            if isinstance(found, (HeadersReceived, DataReceived)) and found.stream_id in self.streams:
                self.streams[found.stream_id].put_nowait(found)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """What was acknowledged makes room."""
        super().datagram_received(data, addr)
        self.room.set()

    def begin(self, headers: list[tuple[bytes, bytes]], body: bytes | None) -> int:
        """Start a request, with all of its body where there is one; its stream."""
        if self._http is None:
            raise ConnectionError("the server speaks no HTTP/3")
        stream = int(self._quic.get_next_available_stream_id())
        self.streams[stream] = asyncio.Queue()
        self._http.send_headers(stream, headers, end_stream=body == b"")
        if body:
            self._http.send_data(stream, body, True)
        self._transmit_soon()
        return stream

    async def send(self, stream: int, content: bytes, *, end: bool = False) -> None:
        """More of a body, once there is room for it."""
        assert self._http is not None
        while not self.over and self._waiting(stream) > SEND_BUFFER:
            self.room.clear()
            await self.room.wait()
        if self.over:
            raise ConnectionError("the connection is closed")
        self._http.send_data(stream, content, end)
        self._transmit_soon()

    def _waiting(self, stream: int) -> int:
        found = self._quic._streams.get(stream)
        return len(found.sender._buffer) if found is not None else 0


class AsyncClient:
    """Talks to the gateway at ``url``; use it as ``async with AsyncClient(url) as client``.

    Args:
        url: ``https://host:port``, or ``http://host:port`` for a gateway with ``--insecure-local``.
        options: see `Options`; keywords change single ones.
        random: for the wait before another try; ``sleep`` does the waiting.

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
        **changed: Any,
    ) -> None:
        base = options or Options()
        self.options = base if not changed else Options(**{**_fields(base), **changed})
        self._url = _checked(url)
        self._random, self._sleep = random or Random(), sleep
        self._stack = contextlib.AsyncExitStack()
        self._quic: _Quic | None = None
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
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None

    async def screen(self, text: str, **fields: Any) -> dict[str, Any]:
        """The verdict on ``text``; ``fields`` are further members of the request, such as ``session_id``, ``channel``.

        Raises:
            ServerError: refused, or no answer, after the last try.
        """
        body = json.dumps({"text": text, **fields}).encode()
        self._count += 1
        key = {"content-type": JSON, "idempotency-key": f"{self._name}-{self._count}"}
        answer = await self.request("POST", "/v1/screen", body, key)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def screen_table(self, table: pa.Table) -> pa.Table:
        """Verdicts of a table with a ``text`` column, same rows, same order.

        Raises:
            ServerError: refused, or no answer, after the last try.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=4096)
        self._count += 1
        key = {"content-type": ARROW, "idempotency-key": f"{self._name}-{self._count}"}
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
                told = problem.problem.get("retry_after_s", 0.0)
                wait = max(float(told), FIRST_WAIT_S * 2 ** (attempt - 1))
                await self._sleep(min(wait, LONGEST_WAIT_S) * (1 + self._random.random() / 2))
            try:
                async with asyncio.timeout(self.options.timeout_s):
                    answer = await self._once(method, target, body, self._headers(headers or {}))
            except ssl.SSLCertVerificationError as error:
                await self.close()
                raise _untrusted(self._url, error.verify_message) from None
            except (OSError, TimeoutError, http.client.HTTPException, ssl.SSLError) as error:
                await self.close()
                problem = ServerError(0, {"title": "No answer", "detail": str(error) or type(error).__name__})
                continue
            if answer.status < 400:
                return answer
            problem = _refusal(answer)
            if answer.status not in AGAIN:
                break
        raise problem

    async def stream(
        self, rows: AsyncIterator[dict[str, Any]], *, brief: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Verdicts of ``rows`` as each is ready, matched by ``request_id``, over one long-lived stream of HTTP/3.

        Rows are taken only as fast as the gateway takes them. What it refuses comes as a row with ``problem``.

        Raises:
            ServerError: the stream was refused, or broke off.
            ConfigError: over TCP there is no stream.
        """
        if not self.is_quic:
            raise ConfigError("http", 1, "3 for a stream")
        quic = await self._connected()
        target = "/v1/screen/stream" + ("?verdict=brief" if brief else "")
        stream = quic.begin(self._pseudo("POST", target, self._headers({"content-type": NDJSON})), None)

        async def feed() -> None:
            async for row in rows:
                await quic.send(stream, json.dumps(row).encode() + b"\n")
            await quic.send(stream, b"", end=True)

        feeding = asyncio.create_task(feed())
        status, held, queue = 0, b"", quic.streams[stream]
        try:
            while True:
                event = await queue.get()
                if event is None:
                    raise ServerError(0, {"title": "The stream broke off"})
                if isinstance(event, HeadersReceived):
                    status = int(dict(event.headers)[b":status"])
                else:
                    held += event.data
                if status >= 400 and event.stream_ended:
                    raise _refusal(Answer(status, {}, held))
                if status < 400:
                    *lines, held = held.split(b"\n")
                    for line in lines:
                        yield json.loads(line)
                if event.stream_ended:
                    return
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await feeding
            quic.streams.pop(stream, None)

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        found = dict(more)
        if self.options.token is not None:
            found["authorization"] = f"Bearer {self.options.token}"
        if self.options.deadline_ms is not None:
            found[DEADLINE] = f"{self.options.deadline_ms:g}"
        return found

    def _pseudo(self, method: str, target: str, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        first = {":method": method, ":scheme": "https", ":authority": self._url.netloc, ":path": target}
        return [(name.encode(), value.encode()) for name, value in {**first, **headers}.items()]

    async def _once(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        if not self.is_quic:
            async with self._lock:
                return await asyncio.to_thread(self._over_tcp, method, target, body, headers)
        async with self._room:
            return await self._over_quic(method, target, body, headers)

    async def _over_quic(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        quic = await self._connected()
        stream = quic.begin(self._pseudo(method, target, headers), body)
        status, found, parts = 0, {}, []
        try:
            while True:
                event = await quic.streams[stream].get()
                if event is None:
                    raise ConnectionError("the connection broke off")
                if isinstance(event, HeadersReceived):
                    found = {name.decode(): value.decode() for name, value in event.headers}
                    status = int(found[":status"])
                else:
                    parts.append(event.data)
                if event.stream_ended:
                    return Answer(status, found, b"".join(parts))
        finally:
            quic.streams.pop(stream, None)

    async def _connected(self) -> _Quic:
        async with self._lock:
            if self._quic is None or self._quic.over:
                await self._stack.aclose()
                settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=self._url.hostname)
                options = self.options
                if options.ca is not None:
                    settings.load_verify_locations(_readable(options.ca))
                if options.certificate is not None:
                    settings.load_cert_chain(_readable(options.certificate), options.key and str(options.key))
                made: list[_Quic] = []

                def protocol(*arguments: Any, **more: Any) -> _Quic:
                    made.append(_Quic(*arguments, **more))
                    return made[-1]

                opened = connect(
                    self._url.hostname or "", self._url.port or 443, configuration=settings, create_protocol=protocol
                )
                try:
                    async with asyncio.timeout(options.connect_s):
                        quic = await self._stack.enter_async_context(opened)
                except ConnectionError:
                    if made and made[-1].distrust:
                        raise _untrusted(self._url, made[-1].distrust) from None
                    raise
                except TimeoutError:
                    told = (
                        f"nothing over HTTP/3 (UDP) within {options.connect_s:g} s; is it running? HTTP 1 asks over TCP"
                    )
                    raise ServerError(0, {"title": "No answer", "detail": told}) from None
                assert isinstance(quic, _Quic)
                self._quic = quic
            return self._quic

    def _over_tcp(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self._tcp is None:
            host, port, timeout = self._url.hostname or "", self._url.port, self.options.timeout_s
            if self._url.scheme == "http":
                self._tcp = http.client.HTTPConnection(host, port, timeout=timeout)
            else:
                context = ssl.create_default_context(cafile=self.options.ca and _readable(self.options.ca))
                context.minimum_version = ssl.TLSVersion.TLSv1_3
                if self.options.certificate is not None:
                    context.load_cert_chain(_readable(self.options.certificate), self.options.key)
                self._tcp = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        self._tcp.request(method, target, body, headers)
        answer = self._tcp.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


class Client:
    """`AsyncClient` for code that waits, on a thread of its own; use it as ``with Client(url) as client``."""

    def __init__(self, url: str, options: Options | None = None, **changed: Any) -> None:
        self._client = AsyncClient(url, options, **changed)
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

    def close(self) -> None:
        """Close the connection and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__dataclass_fields__}


def _checked(url: str) -> SplitResult:
    expected = "an address such as https://gateway.example:8443"
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        raise ConfigError("url", url, expected) from None
    if found.scheme not in ("http", "https") or not found.hostname or found.path not in ("", "/") or port == 0:
        raise ConfigError("url", url, expected)
    return found


def _readable(path: Path | str) -> str:
    if not Path(path).is_file():
        raise DataError(path, "no such file")
    return str(path)


def _refusal(answer: Answer) -> ServerError:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    return ServerError(answer.status, found if isinstance(found, dict) else {})


def _untrusted(url: SplitResult, reason: str) -> ServerError:
    # Trying again cannot help, and only the caller can say whom to trust.
    way = "name the CA that signed it: --ca FILE, or ca= in Python"
    if "match" in reason:
        way = "use a name or address that stands in it"
    elif "expired" in reason or "not valid" in reason:
        way = "the gateway needs a new one"
    told = f"of {url.netloc}: {reason}; {way}"
    return ServerError(0, {"title": "The server's certificate is not trusted", "detail": told})


def _unasked(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A connection that was given up breaks off later, when nobody waits for it any more.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
