"""Who sends a request: a certificate, a token or a key is verified; whatever is missing or wrong is denied."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aimds.errors import ConfigError
from aimds.gateway.certificates import Chains
from aimds.gateway.headers import Head
from aimds.gateway.identity import Identity, Peer, Route
from aimds.gateway.keys import PREFIX, Keys
from aimds.gateway.limits import Failures
from aimds.gateway.problem import Problem
from aimds.gateway.tokens import Jwks, Tokens

LOOPBACK = ("127.0.0.0/8", "::1/128")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Credentials:
    """What identities are verified with; None where that kind is not taken.

    ``clients``: identities by a name in the certificate · ``require_certificate``: a token or key counts only with a
    valid certificate beside it.
    """

    chains: Chains | None = None
    clients: Mapping[str, Identity] | None = None
    tokens: Tokens | None = None
    keys: Keys | None = None
    require_certificate: bool = False

    @property
    def key_set(self) -> Jwks | None:
        """The keys that tokens are checked with."""
        return None if self.tokens is None else self.tokens.keys


class Auth:
    """Access for verified identities.

    Args:
        credentials: replaced as a whole on a reload.
        admin_networks: from where admin routes may be used, whoever asks.
        failures: failed logins of each source address.
        wall: seconds since 1970.

    Raises:
        ConfigError: no kind of credential at all, or a network that is none.
    """

    def __init__(
        self,
        credentials: Credentials,
        admin_networks: Sequence[str] = LOOPBACK,
        *,
        wall: Callable[[], float],
        failures: Failures | None = None,
    ) -> None:
        if credentials.chains is None and credentials.tokens is None and credentials.keys is None:
            raise ConfigError("auth", None, "certificates, tokens or keys; --insecure-local is the only way without")
        if credentials.require_certificate and credentials.chains is None:
            raise ConfigError("auth.certificates.required", True, "a client_ca beside it")
        self.credentials, self._wall = credentials, wall
        self._failures = Failures() if failures is None else failures
        self._networks = tuple(_network(one) for one in admin_networks)

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        """The verified sender. Only what TLS and the kernel say of ``peer`` counts, never a forwarding header.

        Raises:
            Problem: ``unauthenticated``, ``forbidden`` for an admin route from outside, or ``too-many-failures``.
        """
        self._failures.check(peer.address, now)
        try:
            return self._identified(head, peer, route, now)
        except Problem as problem:
            if problem.kind == "unauthenticated":
                problem.extra["role"] = route.role
                self._failures.count(peer.address, now)
            raise

    def failed(self, address: str, now: float) -> None:
        """TLS has turned a client at ``address`` away.

        Raises:
            Problem: ``too-many-failures``: it had used them up before.
        """
        self._failures.check(address, now)
        self._failures.count(address, now)

    def _identified(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        if route.role == "admin":
            if not self._is_admin_address(peer.address):
                raise Problem("forbidden", f"admin routes are not open to {peer.address}")
            if peer.moving:
                raise Problem("forbidden", "admin routes are not open while the address of the connection changes")
        credentials, at = self.credentials, datetime.fromtimestamp(self._wall(), UTC)
        names: tuple[str, ...] = ()
        if credentials.chains is not None and (peer.certificates or credentials.require_certificate):
            names = credentials.chains.names(peer.certificates, at)
        secret = _secret(head)
        if secret is not None:
            if secret.startswith(PREFIX):
                if credentials.keys is None:
                    raise Problem("unauthenticated", "API keys are not taken")
                return credentials.keys.identity(secret, at)
            if credentials.tokens is None:
                known = "" if credentials.keys is None else f", and API keys begin with {PREFIX}"
                raise Problem("unauthenticated", f"tokens are not taken{known}")
            return credentials.tokens.identity(secret, now)
        for name in names:
            identity = (credentials.clients or {}).get(name)
            if identity is not None:
                return identity
        if names:
            raise Problem(
                "forbidden", f"the certificate of {', '.join(names)[:200]} is valid, but stands for nobody here"
            )
        raise Problem("unauthenticated", "neither a certificate, nor a token, nor an API key was given")

    def _is_admin_address(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._networks)


def _secret(head: Head) -> str | None:
    header, key = head.headers.get("authorization"), head.headers.get("x-api-key")
    if header is not None and key is not None:
        raise Problem("unauthenticated", "both authorization and x-api-key were given")
    if key is not None:
        if not key.startswith(PREFIX):
            raise Problem("unauthenticated", "the API key is not known")
        return key
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise Problem("unauthenticated", "authorization: only Bearer is taken")
    return value.strip()


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError("admin.allow", text, "an IP network such as 10.0.0.0/8") from None
