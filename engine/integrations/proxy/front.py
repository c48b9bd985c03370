"""The proxy as an ASGI application: which requests are screened, which pass as they are, and what goes wrong."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aimds.gateway.http import GONE
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.integrations.proxy.asking import Asking
from aimds.integrations.proxy.routing import Routing
from aimds.integrations.proxy.screened import Bounds, Screened, passed_on
from aimds.integrations.proxy.senders import BadHeader, Senders, forwarded
from aimds.integrations.proxy.shapes import Api, Refusal, api_of, asked, refusal_of
from aimds.integrations.proxy.upstream import Upstream, UpstreamError
from aimds.integrations.proxy.wire import Gone, Message, Receive, Refused, Send, Wire
from aimds.respond.policy import Policy

OWN_PATH = b"/aimds"
"""Paths below it are answered by the gateway: /aimds/healthz is its /healthz."""
READING = ("GET", "HEAD", "OPTIONS")
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class Front:
    """Stands before ``own``, the gateway's application.

    Args:
        own: answers below OWN_PATH.
        service: its queue judges.
        policy: the one in force.
        upstream: everything else goes there.
        senders: say who sends.
        bounds: of what is screened.
        routing: chooses the model for requests of the API of OpenAI; None: all go to ``upstream``.
        strict: requests that are not screened and may change something are refused.
        ids: names of requests.
    """

    def __init__(
        self,
        own: AsgiApp,
        service: Service,
        policy: Callable[[], Policy],
        upstream: Upstream,
        senders: Senders,
        bounds: Bounds | None = None,
        *,
        strict: bool = False,
        routing: Routing | None = None,
        ids: Callable[[], str] = lambda: secrets.token_hex(8),
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._own, self._service, self._upstream, self._senders = own, service, upstream, senders
        self._screened = Screened(Asking(service, policy), upstream, bounds or Bounds(), routing)
        self._strict, self._ids, self._say = strict, ids, say

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; given up as soon as its client is gone."""
        if scope["type"] != "http":
            return
        wire = Wire(scope, receive, send, self._ids())
        if wire.path == OWN_PATH or wire.path.startswith(OWN_PATH + b"/"):
            path = wire.path[len(OWN_PATH) :] or b"/"
            await self._own({**scope, "raw_path": path, "path": path.decode("latin-1")}, receive, send)
            return
        serving = asyncio.create_task(self._serve(wire))
        gone: asyncio.Future[None] | None = scope.get(GONE)
        try:
            await asyncio.wait({serving, gone} if gone is not None else {serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not serving.done():
                serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        if not serving.cancelled() and (error := serving.exception()) is not None:
            raise error

    async def _serve(self, wire: Wire) -> None:
        api = api_of(wire.method, self._upstream.address.prefix.encode() + wire.path)
        route = "proxied" if api is None else api.route
        try:
            try:
                await self._carry(wire, api)
            except Gone:
                return
            except Exception as error:
                # An answer that has begun and is no stream can only be cut off.
                await wire.refuse(api or asked(wire.headers), self._refusal(error))
        finally:
            # A client that left before an answer began has the status that proxies log for it.
            self._service.metrics.requests.labels(route, str(wire.status or 499)).inc()

    async def _carry(self, wire: Wire, api: Api | None) -> None:
        if self._service.draining:
            raise Problem("draining", "no new requests are taken", retry_after_s=1.0)
        sender = self._senders.of(wire.headers, wire.peer)
        if api is not None:
            await self._screened.carry(wire, api, sender)
            return
        if self._strict and wire.method not in READING:
            said = f"this proxy is strict: {wire.method} is only passed on where it is screened"
            raise Refused(Refusal(403, "forbidden", said))
        await self._pass(wire)

    async def _pass(self, wire: Wire) -> None:
        headers = forwarded(wire.headers)
        chunked = wire.header(b"transfer-encoding") != b""
        if chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        body: Any = wire.content() if chunked or wire.header(b"content-length") else b""
        async with self._upstream.ask(wire.method, wire.target, headers, body) as answer:
            await passed_on(wire, answer, [])

    def _refusal(self, error: Exception) -> Refusal:
        if isinstance(error, (Refused, BadHeader)):
            return error.refusal
        if isinstance(error, Problem):
            return refusal_of(error)
        if isinstance(error, UpstreamError):
            self._say(str(error))
            status, code = (504, "upstream_slow") if error.slow else (502, "upstream_unavailable")
            return Refusal(status, code, f"the upstream gave no answer: {error.reason}")
        # Its message may quote what was sent.
        self._say(f"a request could not be handled: {type(error).__name__}")
        return Refusal(500, "internal", f"the request could not be handled: {type(error).__name__}")
