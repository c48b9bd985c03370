"""Who is signed in: a random cookie stands for what a browser showed once, and is good for some hours."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from aimds.gateway.identity import Identity

LASTS_S = 8 * 3600.0
MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """``authorization``: the header that it stands for, verified anew at each request, so that a key which is
    revoked or expires ends it; None: the connection itself says who it is · ``fixed``: instead of both, where a
    one-time token was shown · ``name``: whom the session was begun by · ``csrf``: what a change has to bring along."""

    name: str
    ends: float
    authorization: str | None = field(default=None, repr=False)
    fixed: Identity | None = None
    csrf: str = field(default="", repr=False)

    def accepts(self, token: str | None) -> bool:
        """Whether ``token`` is the one of this session."""
        return token is not None and hmac.compare_digest(self.csrf.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Sessions by the digest of their cookie; at most MOST, the oldest go first.

    Args:
        cookie: its name. Cookies do not know ports: two servers of one host need two names.
        secure: whether browsers may send it over TLS alone.
        token: random text.
    """

    def __init__(
        self, cookie: str, *, secure: bool, token: Callable[[], str] = lambda: secrets.token_urlsafe(32)
    ) -> None:
        self.cookie = f"__Host-{cookie}" if secure else cookie
        self._secure, self._token = secure, token
        self._all: dict[bytes, Session] = {}

    def begin(
        self, name: str, now: float, *, authorization: str | None = None, fixed: Identity | None = None
    ) -> tuple[Session, str]:
        """A new session and the Set-Cookie header that gives it to the browser."""
        for key in [key for key, one in self._all.items() if one.ends <= now]:
            del self._all[key]
        while len(self._all) >= MOST:
            del self._all[next(iter(self._all))]
        value = self._token()
        session = Session(name, now + LASTS_S, authorization, fixed, self._token())
        self._all[_digest(value)] = session
        return session, self._header(value, int(LASTS_S))

    def find(self, cookies: str | None, now: float) -> Session | None:
        """The session that the header Cookie names."""
        value = self._value(cookies)
        session = None if value is None else self._all.get(_digest(value))
        return None if session is None or session.ends <= now else session

    def end(self, cookies: str | None) -> str:
        """End the session that the header Cookie names; the Set-Cookie header that makes the browser forget it."""
        value = self._value(cookies)
        if value is not None:
            self._all.pop(_digest(value), None)
        return self._header("", 0)

    def _header(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{self.cookie}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    def _value(self, cookies: str | None) -> str | None:
        # HTTP/3 may split the header, and what reads it joins the parts with a comma.
        found = [
            part.partition("=")[2].strip()
            for part in (cookies or "").replace(",", ";").split(";")
            if part.partition("=")[0].strip() == self.cookie
        ]
        # Two of one name: somebody else has set one of them.
        return found[0] if len(found) == 1 else None


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()
