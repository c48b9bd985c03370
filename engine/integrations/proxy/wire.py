"""One proxied request as the ASGI server hands it over: its body, its answer, and whether that has begun."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from aimds.integrations.proxy.senders import Headers
from aimds.integrations.proxy.shapes import Api, Refusal
from aimds.integrations.proxy.texts import encoded

BAD = "bad_upstream"
IDLE_S = 30.0
"""Seconds in which a client must send something of its body."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Refused(Exception):
    """A request or an answer that goes no further; ``refusal`` is what the client is told."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class Gone(Exception):
    """The client left."""


class Wire:
    """Request and answer on one connection."""

    def __init__(self, scope: Message, receive: Receive, send: Send, request_id: str) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.query: bytes = scope.get("query_string") or b""
        self.headers: Headers = list(scope["headers"])
        self.peer: str = scope["client"][0] if scope.get("client") else ""
        self.request_id = request_id
        self.status = 0
        """Of the answer; 0 until it begins."""
        self.held = 0
        """Bytes of the request that are kept."""
        self._receive, self._send = receive, send
        self._streams = False

    @property
    def target(self) -> str:
        """Path and query, as they came."""
        return (self.path + (b"?" + self.query if self.query else b"")).decode("latin-1")

    def header(self, name: bytes) -> bytes:
        """The values of a request header, in lower case; empty where there is none."""
        return b",".join(value.strip().lower() for key, value in self.headers if key.lower() == name)

    async def content(self) -> AsyncIterator[bytes]:
        """The body of the request in pieces.

        Raises:
            Gone: the client left before its end.
            Refused: nothing came for IDLE_S.
        """
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    message = await self._receive()
            except TimeoutError:
                raise Refused(Refusal(408, "slow_request", f"nothing came for {IDLE_S:g} s")) from None
            if message["type"] == "http.disconnect":
                raise Gone
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def body(self, most: int, room: Callable[[], int]) -> bytes:
        """The whole body of the request.

        Args:
            room: bytes that it may have at the moment, among all others.

        Raises:
            Refused: more than ``most`` bytes, or no room.
        """
        refusal = Refusal(413, "too_large", f"a request may have {most} bytes (aimds proxy --max-body)")
        length = self.header(b"content-length")
        if length.isdigit() and (len(length) > 18 or int(length) > most):
            raise Refused(refusal)
        parts, size = [], 0
        async for piece in self.content():
            size += len(piece)
            if size > most:
                raise Refused(refusal)
            self.held = size
            if room() < 0:
                raise Refused(Refusal(429, "overloaded", "too much is under way", 1.0))
            parts.append(piece)
        return b"".join(parts)

    async def begin(self, status: int, headers: Headers, *, streams: bool = False) -> None:
        """The head of the answer."""
        self.status, self._streams = status, streams
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, content: bytes) -> None:
        """A piece of the answer's body; returns when there is room for more."""
        if content:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self) -> None:
        """The answer is complete."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, api: Api, refusal: Refusal) -> None:
        """Answer with an error of ``api``: as a whole, or as the last event of a stream. Any other answer that has
        begun is left as it is, without an end."""
        if self.status and not self._streams:
            return
        if self.status:
            await self.send(api.event(refusal, self.request_id))
        else:
            body = encoded(api.error(refusal, self.request_id))
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            headers.append((b"aimds-request-id", self.request_id.encode()))
            if refusal.retry_after_s is not None:
                headers.append((b"retry-after", str(max(1, round(refusal.retry_after_s))).encode()))
            await self.begin(refusal.status, headers)
            await self.send(body)
        await self.end()


async def plain(content: AsyncIterator[bytes], encoding: bytes, most: int) -> AsyncIterator[bytes]:
    """``content`` without its compression.

    Raises:
        Refused: a compression that cannot be undone, damaged, or more than ``most`` bytes come out.
    """
    if encoding in (b"", b"identity"):
        async for piece in content:
            yield piece
        return
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        name = encoding[:40].decode("latin-1")
        raise Refused(Refusal(502, BAD, f"the upstream compressed its answer ({name}) although not asked to"))
    # 32 + 15: gzip or zlib, whichever the first bytes say.
    undo, size = zlib.decompressobj(32 + 15), 0
    async for piece in content:
        while piece:
            try:
                out = undo.decompress(piece, 1 << 18)
            except zlib.error:
                raise Refused(Refusal(502, BAD, "the compressed answer of the upstream is damaged")) from None
            size += len(out)
            if size > most:
                raise Refused(Refusal(502, BAD, f"the answer of the upstream has more than {most} bytes"))
            if out:
                yield out
            piece = undo.unconsumed_tail
    if not undo.eof:
        raise Refused(Refusal(502, BAD, "the compressed answer of the upstream is cut off"))
