"""The one server behind the proxy, over HTTP/1.1: requests go there and nowhere else, whatever it answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11

from aimds.errors import AimdsError, ConfigError, DataError

RawHeaders = list[tuple[bytes, bytes]]
CONNECT_S = 10.0
IDLE_S = 4.0
"""Less than servers commonly wait before they close a connection that nobody uses."""
MOST_IDLE = 64
MAX_HEADER_BYTES = 64 << 10
READ_BYTES = 64 << 10


class UpstreamError(AimdsError):
    """The server gave no answer that can be passed on: ``address``, ``reason``, and ``slow`` where time ran out."""

    def __init__(self, address: str, reason: str, *, slow: bool = False) -> None:
        self.address, self.reason, self.slow = address, reason, slow
        super().__init__(f"upstream {address}: {reason}")


@dataclass(frozen=True, slots=True)
class Address:
    """``scheme``, ``host`` and ``port`` of the server, and the ``prefix`` of all paths there."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def read(cls, url: str, key: str = "--upstream") -> Address:
        """The address in ``url``, the value of ``key``.

        Raises:
            ConfigError: no http or https URL, or one with credentials, a query or a fragment.
        """
        expected = "a URL such as http://127.0.0.1:8000: http or https, a host, perhaps a port and a path"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(key, url, expected) from None
        if parts.username is not None or parts.password is not None:
            # Not shown: it holds a password.
            raise ConfigError(key, "(a URL with credentials)", "a URL without; clients send their own")
        plain = url.isascii() and not any(byte <= " " or byte == "\x7f" for byte in url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or not plain:
            raise ConfigError(key, url, expected)
        port = port if port is not None else 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What the header Host says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


class Upstream:
    """Connections to the server at ``address``.

    Args:
        timeout_s: how long may pass without a byte of an answer.
        ca: PEM file of the CAs to trust instead of those of the system.

    Raises:
        DataError: ``ca`` cannot be read.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float = 600.0,
        ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address, self._timeout_s, self._clock = address, timeout_s, clock
        self._context: ssl.SSLContext | None = None
        if address.scheme == "https":
            try:
                self._context = ssl.create_default_context(cafile=ca)
            except (OSError, ssl.SSLError) as error:
                raise DataError(ca, f"cannot be read as CA certificates: {error.strerror or error}") from error
            self._context.set_alpn_protocols(["http/1.1"])
        self._idle: deque[tuple[_Connection, float]] = deque()

    @contextlib.asynccontextmanager
    async def ask(
        self, method: str, target: str, headers: RawHeaders, body: AsyncIterator[bytes] | bytes
    ) -> AsyncIterator[Answer]:
        """The answer to a request; left before its end, the connection is cut, so that the server stops.

        Args:
            headers: without Host, and without those that hold for one connection.

        Raises:
            UpstreamError: there is no answer.
        """
        connection: _Connection | None = None
        try:
            connection = await self._connected()
            answer = await connection.ask(method, self.address.prefix + target, headers, body)
            yield answer
            if answer.over and connection.reusable and len(self._idle) < MOST_IDLE:
                self._idle.append((connection, self._clock()))
                connection = None
        finally:
            if connection is not None:
                connection.close()

    async def _connected(self) -> _Connection:
        while self._idle:
            connection, since = self._idle.pop()
            if self._clock() - since < IDLE_S and connection.alive:
                return connection
            connection.close()
        address = self.address
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._context)
        except TimeoutError:
            raise UpstreamError(address.authority, f"no connection within {CONNECT_S:g} s", slow=True) from None
        except (OSError, ssl.SSLError) as error:
            raise UpstreamError(address.authority, f"no connection: {_said(error)}") from None
        return _Connection(address.authority, reader, writer, self._timeout_s)

    def close(self) -> None:
        """Let go of connections that nobody uses."""
        while self._idle:
            self._idle.pop()[0].close()


class Answer:
    """``status`` and ``headers`` as they came; `content` gives the body in pieces as they come."""

    def __init__(self, connection: _Connection, status: int, reason: bytes, headers: RawHeaders) -> None:
        self._connection, self.status, self.reason, self.headers = connection, status, reason, headers
        self.over = False

    def header(self, name: bytes) -> bytes:
        """The value of a header, in lower case; empty where there is none."""
        return next((value.lower() for key, value in self.headers if key.lower() == name), b"")

    async def content(self) -> AsyncIterator[bytes]:
        """The body.

        Raises:
            UpstreamError: it breaks off, or nothing comes for too long.
        """
        while (piece := await self._connection.piece()) is not None:
            yield piece
        self.over = True


class _Connection:
    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._name, self._reader, self._writer, self._timeout_s = name, reader, writer, timeout_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._next: Any = None

    @property
    def alive(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    @property
    def reusable(self) -> bool:
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self._http.trailing_data[0]

    async def ask(self, method: str, target: str, headers: RawHeaders, body: AsyncIterator[bytes] | bytes) -> Answer:
        host = (b"host", self._name.encode())
        sending = asyncio.create_task(self._send(method, target, [host, *headers], body))
        try:
            # An answer may come before the request is over: it is refused, or the body is not wanted.
            event = await self._head(sending)
        finally:
            sending.cancel()
            await asyncio.wait((sending,))
        return Answer(self, event.status_code, bytes(event.reason), list(event.headers.raw_items()))

    async def _head(self, sending: asyncio.Task[Exception | None]) -> Any:
        reading = asyncio.create_task(self._event())
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
            failed = sending.result() if sending.done() and not sending.cancelled() else None
            if failed is not None and not isinstance(failed, OSError):
                raise failed
            while isinstance(event := await reading, h11.InformationalResponse):
                reading = asyncio.create_task(self._event())
        finally:
            if not reading.cancel() and not reading.cancelled():
                reading.exception()
        if not isinstance(event, h11.Response):
            raise UpstreamError(self._name, "it hung up without an answer")
        return event

    async def _send(
        self, method: str, target: str, headers: RawHeaders, body: AsyncIterator[bytes] | bytes
    ) -> Exception | None:
        """Send a request; gives what went wrong on the way, which the answer may explain."""
        try:
            self._write(h11.Request(method=method, target=target, headers=headers))
            if isinstance(body, bytes):
                if body:
                    self._write(h11.Data(data=body))
            else:
                async for piece in body:
                    if piece:
                        self._write(h11.Data(data=piece))
                        await self._writer.drain()
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        except h11.LocalProtocolError:
            # What h11 says of it may quote a header, and so a credential.
            return UpstreamError(self._name, "the request cannot be sent as HTTP/1.1")
        except Exception as error:
            return error
        return None

    def _write(self, event: Any) -> None:
        content = self._http.send(event)
        if content:
            self._writer.write(content)

    async def piece(self) -> bytes | None:
        event = self._next or await self._event()
        self._next = None
        if isinstance(event, h11.Data):
            parts = [bytes(event.data)]
            # What has come already leaves together; nothing is waited for.
            with contextlib.suppress(h11.RemoteProtocolError):
                while isinstance(event := self._http.next_event(), h11.Data):
                    parts.append(bytes(event.data))
                self._next = None if event is h11.NEED_DATA else event
            return b"".join(parts)
        if isinstance(event, h11.EndOfMessage):
            return None
        raise UpstreamError(self._name, "it hung up before its answer was complete")

    async def _event(self) -> Any:
        content = b"nothing read yet"
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._timeout_s):
                    content = await self._reader.read(READ_BYTES)
                self._http.receive_data(content)
        except TimeoutError:
            raise UpstreamError(self._name, f"nothing came for {self._timeout_s:g} s", slow=True) from None
        except h11.RemoteProtocolError as error:
            said = f"no proper HTTP: {error}" if content else "it hung up before its answer was complete"
            raise UpstreamError(self._name, said) from None
        except (OSError, ssl.SSLError) as error:
            raise UpstreamError(self._name, f"the connection broke: {_said(error)}") from None
        return event

    def close(self) -> None:
        # Not awaited: a server that does not say goodbye must not keep a client waiting.
        self._writer.transport.abort()


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
