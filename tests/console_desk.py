"""The console of a queue without a socket: one reviewer per key, work done at once, time a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from review_cases import START, queue

from aimds.console.sessions import Sessions
from aimds.console.site import Answer, Site
from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import Identity, Peer, Route
from aimds.gateway.problem import Problem
from aimds.respond.review import Case, Queue

HOST = "review.example:8443"
KEYS = {
    "ada": Identity("ada", None, frozenset({"review"}), "key"),
    "ben": Identity("ben", None, frozenset({"review"}), "key"),
    "eve": Identity("eve", "globex-test", frozenset({"review"}), "key"),
    "sam": Identity("sam", None, frozenset({"screen", "metrics", "admin"}), "key"),
}
JSON = {"content-type": "application/json"}


class Keyring:
    """Takes the names as keys; `gone` are revoked."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        name = head.headers.get("authorization", "").removeprefix("Bearer ")
        if name in self.gone or name not in KEYS:
            raise Problem("unauthenticated", "the API key is not known")
        return KEYS[name]


class Browser:
    """Somebody's cookies and token."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.cookie, self.csrf = desk, "", ""

    def ask(self, method: str, path: str, body: Any = None, **changed: str | None) -> tuple[int, dict[str, str], Any]:
        headers: dict[str, str | None] = {"host": HOST, "cookie": self.cookie or None}
        if method == "POST":
            headers |= {**JSON, "origin": f"https://{HOST}", "x-csrf-token": self.csrf}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        status, found, content = self.desk.ask(
            method, path, headers, b"" if body is None else json.dumps(body).encode()
        )
        if "set-cookie" in found:
            self.cookie = found["set-cookie"].partition(";")[0]
        told = json.loads(content) if "json" in found.get("content-type", "") else content
        if isinstance(told, dict) and "csrf" in told:
            self.csrf = told["csrf"]
        return status, found, told

    def get(self, path: str) -> Any:
        status, _, told = self.ask("GET", path)
        assert status == 200, told
        return told

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        status, _, told = self.ask("POST", path, {} if body is None else body)
        return status, told


class Desk:
    """A site over a queue with ``cases``."""

    def __init__(self, folder: Path, *cases: Case, secure: bool = True, **options: Any) -> None:
        self.queue: Queue = queue(folder / "review.db", *cases)
        self.now, self.wall = 100.0, START.timestamp()
        self.keys = Keyring()
        self.denied: list[str] = []
        numbers = count()
        sessions = Sessions("aimds-review", secure=secure, token=lambda: f"token-{next(numbers)}")
        self.site = Site(
            self.queue,
            options.pop("access", self.keys),
            self._run,
            sessions,
            secure=secure,
            denied=lambda problem, head, peer: self.denied.append(problem.kind),
            wall=lambda: self.wall,
            **options,
        )

    @staticmethod
    def _run(work: Callable[[], Answer], done: Callable[[Answer], None]) -> None:
        done(work())

    def ask(
        self, method: str, path: str, headers: dict[str, str | None], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        raw = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
        try:
            exchange: Exchange = self.site.open(Head.read(method, path, raw), Peer("127.0.0.1"), self.now)
        except Problem as problem:
            return problem.status, dict(problem.headers()), problem.body()
        exchange.receive(body, self.now)
        exchange.end(self.now)
        assert exchange.ended
        return exchange.status, dict(exchange.headers), exchange.take()

    def sign_in(self, name: str) -> Browser:
        browser = Browser(self)
        status, told = browser.post("/console/api/login", {"secret": name})
        assert status == 200, told
        return browser
