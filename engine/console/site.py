"""The console between a transport and the queue: static files for everybody, all data for verified reviewers alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from aimds.console import answers, pages
from aimds.console.sessions import Session, Sessions
from aimds.gateway.exchange import Exchange, Fixed, Headers
from aimds.gateway.headers import JSON, Head
from aimds.gateway.identity import Identity, Peer, Route, authorize
from aimds.gateway.problem import CONTENT_TYPE, Problem, too_large
from aimds.respond.review import Queue, Reviewer, ReviewError

API = pages.PREFIX + "/api/"
MAX_BODY = 64 << 10
ROLE = "review"
Answer = tuple[int, bytes]
Run = Callable[[Callable[[], Answer], Callable[[Answer], None]], None]
"""Does the first off the network's thread, and hands what it gives to the second on it."""


class Access(Protocol):
    """Who may come in."""

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        """The verified sender of a request, or raise a Problem."""


class Site:
    """The console of ``queue``.

    Args:
        queue: what is reviewed.
        access: verifies who asks.
        run: see Run.
        sessions: of browsers.
        secure: whether it is served over TLS.
        hosts: names that the header Host may have; None: the certificate says enough. Without TLS a page from elsewhere
            could come under a name of its own that leads to loopback.
        enter: the identity that a one-time token stands for, or raise a Problem.
        denied: told what was denied after a request was taken in.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        queue: Queue,
        access: Access,
        run: Run,
        sessions: Sessions,
        *,
        secure: bool,
        hosts: frozenset[str] | None = None,
        enter: Callable[[str], Identity] | None = None,
        denied: Callable[[Problem, Head, Peer], None] = lambda problem, head, peer: None,
        wall: Callable[[], float],
    ) -> None:
        self._queue, self._access, self._run, self.sessions = queue, access, run, sessions
        self._secure, self._enter, self._wall = secure, enter, wall
        self.hosts, self.denied = hosts, denied

    @staticmethod
    def owns(path: str) -> bool:
        """Whether ``path`` is one of the console's."""
        return path == pages.PREFIX or path.startswith(pages.PREFIX + "/")

    def open(self, head: Head, peer: Peer, now: float) -> Exchange:
        """The exchange of a request.

        Raises:
            Problem: it is refused.
        """
        if self.hosts is not None and head.headers.get("host", "") not in self.hosts:
            raise Problem("forbidden", f"the console is not {head.headers.get('host', '')[:100]!r}")
        if head.path == pages.PREFIX:
            return _fixed(308, [("location", pages.PREFIX + "/")], b"")
        if head.path.startswith(API):
            return self._call(head, peer, now)
        if head.method not in ("GET", "HEAD"):
            raise Problem("method-not-allowed", f"{head.path[:200]} has GET", allow=["GET"])
        if head.path == pages.PREFIX + "/enter" and self._enter is not None:
            identity = self._enter(head.query.get("token", ""))
            _, cookie = self.sessions.begin(identity.name, now, fixed=identity)
            return _fixed(303, [("location", pages.PREFIX + "/"), ("set-cookie", cookie)], b"")
        file = pages.FILES.get(head.path.removeprefix(pages.PREFIX))
        if file is None:
            raise Problem("not-found", f"{head.path[:200]!r} is no page of the console")
        return _fixed(200, [("content-type", file[1])], pages.content(file[0]))

    def _call(self, head: Head, peer: Peer, now: float) -> Exchange:
        name, number = _parsed(head.path.removeprefix(API))
        method = "GET" if head.method == "HEAD" else head.method
        if (method, name) == ("GET", "me"):
            return self._me(head, peer, now)
        if method == "POST":
            self._same_origin(head)
        if (method, name) == ("POST", "login"):
            return _Asked(lambda body: self._login(body, head, peer, now), MAX_BODY)
        work = answers.ROUTES.get((method, name))
        if work is None:
            allow = [one for one, path in answers.ROUTES if path == name]
            if allow:
                raise Problem("method-not-allowed", f"{head.path[:200]} has {', '.join(allow)}", allow=allow)
            if (method, name) != ("POST", "logout"):
                raise Problem("not-found", f"{head.path[:200]!r} is none of the console's routes")
        session = self.sessions.find(head.headers.get("cookie"), now)
        if session is None:
            raise Problem("unauthenticated", "sign in to the console first")
        identity = self._identity(session, head, peer, now)
        if method == "POST" and not session.accepts(head.headers.get("x-csrf-token")):
            raise Problem("forbidden", "the CSRF token is missing or is not the one of this session")
        if work is None:
            cookie = self.sessions.end(head.headers.get("cookie"))
            return _Asked(lambda body: (200, [("set-cookie", cookie)], b'{"signed_in": false}'), MAX_BODY)
        found, who, at = work, _reviewer(identity), datetime.fromtimestamp(self._wall(), UTC)

        def begin(body: bytes, done: Callable[[Answer], None]) -> None:
            try:
                read = msgspec.json.decode(body, type=answers.Body) if body else answers.Body()
            except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
                done(answers.refusal(422, "unprocessable", f"the body cannot be read: {error}"))
                return
            call = answers.Call(who, at, number, head.query, read)
            self._run(lambda: answers.answer(found, self._queue, call), done)

        return _Working(begin, MAX_BODY)

    def _identity(self, session: Session, head: Head, peer: Peer, now: float) -> Identity:
        """Whom ``session`` stands for, verified anew."""
        if session.fixed is not None:
            return session.fixed
        identity = self._verified(head, session.authorization, peer, now)
        if identity.name != session.name:
            raise Problem("unauthenticated", "this session was begun by somebody else")
        return identity

    def _verified(self, head: Head, authorization: str | None, peer: Peer, now: float) -> Identity:
        headers = {name: value for name, value in head.headers.items() if name not in ("authorization", "x-api-key")}
        if authorization is not None:
            headers["authorization"] = authorization
        route = Route("console", head.method, head.path, ROLE)
        identity = self._access.identify(replace(head, headers=headers), peer, route, now)
        authorize(identity, route)
        return identity

    def _me(self, head: Head, peer: Peer, now: float) -> Exchange:
        session, more = self.sessions.find(head.headers.get("cookie"), now), []
        try:
            if session is not None:
                identity = self._identity(session, head, peer, now)
            else:
                identity = self._verified(head, None, peer, now)
                session, cookie = self.sessions.begin(identity.name, now)
                more = [("set-cookie", cookie)]
            _reviewer(identity)
        except Problem as problem:
            if problem.kind != "unauthenticated":
                raise
            enters = "token" if self._enter is not None else "secret"
            return _fixed(200, [("content-type", JSON)], json.dumps({"signed_in": False, "by": enters}).encode())
        found = {"signed_in": True, "name": identity.name, "tenant": identity.tenant, "csrf": session.csrf}
        return _fixed(200, [("content-type", JSON), *more], json.dumps(found).encode())

    def _login(self, body: bytes, head: Head, peer: Peer, now: float) -> tuple[int, Headers, bytes]:
        try:
            try:
                secret = msgspec.json.decode(body, type=_Secret).secret.strip()
            except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
                raise Problem("unprocessable", f"the body cannot be read: {error}") from None
            if not secret or not secret.isascii() or not secret.isprintable():
                raise Problem("unauthenticated", "no API key or token was given")
            authorization = f"Bearer {secret}"
            identity = self._verified(head, authorization, peer, now)
            _reviewer(identity)
        except Problem as problem:
            self.denied(problem, head, peer)
            return problem.status, problem.headers(), problem.body()
        session, cookie = self.sessions.begin(identity.name, now, authorization=authorization)
        found = {"signed_in": True, "name": identity.name, "tenant": identity.tenant, "csrf": session.csrf}
        return 200, [("content-type", JSON), ("set-cookie", cookie)], json.dumps(found).encode()

    def _same_origin(self, head: Head) -> None:
        """Refuse a change that another site's page asks for: browsers say where a POST comes from."""
        own = f"{'https' if self._secure else 'http'}://{head.headers.get('host', '')}"
        if head.headers.get("origin") != own or head.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Problem("forbidden", f"a change has to come from a page of {own[:200]}")
        if head.media_type() != JSON:
            raise Problem("unsupported-media-type", f"{head.media_type()[:80]!r}: the console takes {JSON}")


class _Secret(msgspec.Struct, forbid_unknown_fields=True):
    secret: str


class _Working(Exchange):
    """Collects the body, then waits for its answer."""

    route = "console"

    def __init__(self, begin: Callable[[bytes, Callable[[Answer], None]], None], most: int) -> None:
        super().__init__()
        self._begin, self._most, self._body = begin, most, bytearray()

    def receive(self, content: bytes, now: float) -> None:
        """Collect."""
        if self.ended:
            return
        self._body += content
        if len(self._body) > self._most:
            self._body.clear()
            self.refuse(too_large("the body is larger", self._most))

    def end(self, now: float) -> None:
        """Work."""
        if not self.ended:
            self._begin(bytes(self._body), self._done)

    def _done(self, found: Answer) -> None:
        if not self.ended:
            kind = JSON if found[0] < 400 else CONTENT_TYPE
            self.answer(found[0], [("content-type", kind), *pages.HEADERS], found[1])


class _Asked(_Working):
    """Answers at once."""

    def __init__(self, work: Callable[[bytes], tuple[int, Headers, bytes]], most: int) -> None:
        super().__init__(lambda body, done: None, most)
        self._work = work

    def end(self, now: float) -> None:
        """Answer."""
        if not self.ended:
            status, headers, body = self._work(bytes(self._body))
            self.answer(status, [*headers, *pages.HEADERS], body)


def _fixed(status: int, headers: Headers, body: bytes) -> Exchange:
    return Fixed("console", status, [*headers, *pages.HEADERS], body)


def _parsed(path: str) -> tuple[str, int]:
    """``path`` with its number replaced by #, and the number; 0 where there is none."""
    parts, number = path.split("/"), 0
    if len(parts) > 1 and parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 19:
        number, parts[1] = int(parts[1]), "#"
    return "/".join(parts), number


def _reviewer(identity: Identity) -> Reviewer:
    try:
        return Reviewer(identity.name, identity.tenant)
    except ReviewError as error:
        raise Problem("forbidden", str(error)) from None
