"""Who sends a proxied request, and what its headers say of session and tenant, which stay here."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from aimds.gateway.identity import Identity
from aimds.integrations.proxy.shapes import Refusal

OWN = b"aimds-"
SESSION, TENANT = b"aimds-session", b"aimds-tenant"
CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
MAX_NAME = 200
HOPS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade host expect".split()
)
"""Headers that hold for one connection, or that the other connection has its own of."""
Headers = list[tuple[bytes, bytes]]


class BadHeader(Exception):
    """A header of ours cannot be used; ``refusal`` says so."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


@dataclass(frozen=True, slots=True)
class Sender:
    """``identity`` stands for the credential that was sent, and never holds it."""

    identity: Identity
    session: str | None
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Senders:
    """Makes senders. ``secret``: random bytes of this process · ``tenant``: that of all, None: what the header says."""

    secret: bytes
    tenant: str | None = None

    def of(self, headers: Headers, peer: str) -> Sender:
        """The sender of a request with ``headers`` from address ``peer``.

        Raises:
            BadHeader: a session or tenant that cannot be one, or the tenant of others.
        """
        named = _value(headers, TENANT)
        if self.tenant is not None and named not in (None, self.tenant):
            raise BadHeader(Refusal(403, "forbidden", "aimds-tenant names another tenant than this proxy is for"))
        tenant = self.tenant or named
        credential = b"\0".join(value for name, value in headers if name.lower() in CREDENTIALS)
        # Keyed, so that a record of it says nothing of a credential that can be guessed.
        mark = hmac.new(self.secret, credential or peer.encode(), hashlib.sha256).hexdigest()[:16]
        identity = Identity(f"sender-{mark}", tenant, frozenset({"screen"}), "proxy")
        return Sender(identity, _value(headers, SESSION), tenant)


def _value(headers: Headers, wanted: bytes) -> str | None:
    found = [value for name, value in headers if name.lower() == wanted]
    if not found:
        return None
    name = wanted.decode()
    try:
        value = found[0].decode("ascii").strip()
    except UnicodeDecodeError:
        value = ""
    if len(found) > 1 or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise BadHeader(Refusal(400, "malformed", f"{name}: expected once, 1 to {MAX_NAME} printable characters"))
    return value


def forwarded(headers: Headers, *, drop: frozenset[bytes] = frozenset()) -> Headers:
    """``headers`` without those of one connection, those of ours, and those in ``drop``."""
    named = {
        part.strip().lower() for name, value in headers if name.lower() == b"connection" for part in value.split(b",")
    }
    gone = HOPS | drop | named
    if any(name.lower() == b"transfer-encoding" for name, _ in headers):
        # The length of a body in chunks is where it ends, whatever another header says.
        gone = gone | {b"content-length"}
    return [(name, value) for name, value in headers if name.lower() not in gone and not name.lower().startswith(OWN)]
