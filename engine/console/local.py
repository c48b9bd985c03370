"""The console for one analyst without a gateway: on loopback alone, entered once by a link with a random token."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aimds.console.pages import PREFIX
from aimds.console.sessions import Sessions
from aimds.console.site import Answer, Run, Site
from aimds.errors import ConfigError
from aimds.gateway.exchange import Exchange, Refused
from aimds.gateway.headers import Head
from aimds.gateway.http import App
from aimds.gateway.identity import Identity, Peer, Route
from aimds.gateway.problem import Problem
from aimds.gateway.twin import Twin, listener
from aimds.respond.review import Queue

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")


class Token:
    """A random token that is good once."""

    def __init__(self, name: str, value: str) -> None:
        self.value = value
        self._identity = Identity(name, None, frozenset({"review"}), "local")
        self._used = False

    def enter(self, value: str) -> Identity:
        """Whom ``value`` lets in.

        Raises:
            Problem: ``unauthenticated``: it is another one, or was used.
        """
        right = hmac.compare_digest(value.encode("utf-8", "replace"), self.value.encode())
        if not right or self._used:
            raise Problem("unauthenticated", "this link is not valid, or was used already")
        self._used = True
        return self._identity

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        """Nobody comes in without the link."""
        raise Problem("unauthenticated", "the console is entered by the link that aimds review open prints")


class Desk:
    """What `aimds.gateway.http.App` serves here: the console and nothing else."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def open(self, method: str, target: str, headers: list[tuple[bytes, bytes]], peer: Peer, now: float) -> Exchange:
        """The exchange of a request; one that is refused is answered already."""
        try:
            head = Head.read(method, target, headers)
            if not self.site.owns(head.path):
                raise Problem("not-found", f"there is {PREFIX}/ and nothing else")
            return self.site.open(head, peer, now)
        except Problem as problem:
            return Refused("console", problem)


def threaded(pool: ThreadPoolExecutor, loop: asyncio.AbstractEventLoop) -> Run:
    """Work on ``pool``, with its answers given on ``loop``."""

    def run(work: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
        def later() -> None:
            found = work()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, found)

        pool.submit(later)

    return run


async def serve(queue: Queue, name: str, port: int, ready: Callable[[str], None], ended: asyncio.Event) -> None:
    """Serve the console of ``queue`` to ``name`` until ``ended``; ``ready`` gets the link to enter by.

    Raises:
        ConfigError: the port is taken.
    """
    try:
        listening = listener(HOST, port)
    except OSError as error:
        raise ConfigError("--port", port, f"a free port; 0 takes one ({error.strerror})") from error
    port = listening.getsockname()[1]
    token = Token(name, secrets.token_urlsafe(32))
    pool = ThreadPoolExecutor(1, thread_name_prefix="aimds-console")
    site = Site(
        queue,
        token,
        threaded(pool, asyncio.get_running_loop()),
        Sessions(f"aimds-review-{port}", secure=False),
        secure=False,
        hosts=frozenset(f"{one}:{port}" for one in NAMES),
        enter=token.enter,
        wall=time.time,
    )
    twin = Twin(App(Desk(site)), grace_s=2)
    serving = asyncio.ensure_future(twin.serve([listening]))
    while not twin.started and not serving.done():
        await asyncio.sleep(0.005)
    ready(f"http://{HOST}:{port}{PREFIX}/enter?token={token.value}")
    stopping = asyncio.ensure_future(ended.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    twin.should_exit = True
    await serving
    pool.shutdown(wait=True)
