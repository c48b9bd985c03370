"""A gateway on an ephemeral loopback port, in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from desk import Fake

from aimds.app import Gateway
from aimds.gateway.settings import Settings

INSECURE = Settings(port=0, insecure=True)


class Slow(Fake):
    """A screener that waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def screen_batch(self, batch: Any) -> Any:
        self.entered.set()
        assert self.go.wait(20)
        return super().screen_batch(batch)


class Live:
    """A running gateway; `call` runs a coroutine on its loop."""

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop, patience_s: float = 20) -> None:
        self.gateway, self.loop, self.patience_s = gateway, loop, patience_s

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(self.patience_s)

    def begin(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if context is None:
            return http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=self.patience_s)
        return http.client.HTTPSConnection("127.0.0.1", self.gateway.port, timeout=self.patience_s, context=context)

    def ask(
        self, method: str, target: str, body: Any = None, context: ssl.SSLContext | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect(context)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, {"content-type": "application/json", **named})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def screen(self, text: str, **more: Any) -> tuple[int, Any]:
        status, _, body = self.ask("POST", "/v1/screen", json.dumps({"text": text}), **more)
        return status, json.loads(body)


@contextlib.contextmanager
def live(settings: Settings = INSECURE, screener: Any = None, **options: Any) -> Iterator[Live]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    gateway = None
    try:
        made, patience_s = screener or Fake(), options.pop("patience_s", 20)
        gateway = Gateway(settings, build=options.pop("build", lambda _: made), **options)
        running = Live(gateway, loop, patience_s)
        running.call(gateway.start())
        yield running
    finally:
        if gateway is not None:
            asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
