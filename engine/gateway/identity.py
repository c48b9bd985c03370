"""Who asks, what they may do, and which of it each route needs; what is not granted is denied."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from aimds.errors import ConfigError
from aimds.gateway.problem import Problem

ROLES = ("screen", "review", "admin", "metrics")


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified sender.

    ``tenant``: whom its rows belong to, None where it may name any · ``kind``: how it was verified: certificate, jwt,
    key, local or nobody · ``rate`` rows a second and ``burst`` rows, None for the general ones.
    """

    name: str
    tenant: str | None
    roles: frozenset[str]
    kind: str
    rate: float | None = None
    burst: float | None = None
    key: str = field(init=False, repr=False, compare=False)
    """What its requests are counted under."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.kind}:{self.name}")
        for role in self.roles:
            if role not in ROLES:
                raise ConfigError(f"{self.name}.roles", role, "one of " + ", ".join(ROLES))

    def tenant_of(self, named: str | None) -> str | None:
        """The tenant of a row that names ``named``.

        Raises:
            Problem: ``forbidden``: it belongs to another.
        """
        if self.tenant is None:
            return named
        if named is not None and named != self.tenant:
            raise Problem("forbidden", f"{self.name} may not send for another tenant")
        return self.tenant


LOCAL = Identity("local", None, frozenset(ROLES), "local")
"""Everybody, where `aimds serve --insecure-local` listens on loopback."""
NOBODY = Identity("nobody", "", frozenset(), "nobody")


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: its address, its certificates in DER (leaf first), whether this is early data.
    ``moving``: something came from another address, which has not shown yet that it is its own."""

    address: str
    certificates: tuple[bytes, ...] = ()
    early: bool = False
    moving: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """``path`` may hold one part in braces. ``role`` is needed; None is open to everybody, which only health is."""

    name: str
    method: str
    path: str
    role: str | None


ROUTES = (
    Route("screen", "POST", "/v1/screen", "screen"),
    Route("batch", "POST", "/v1/screen/batch", "screen"),
    Route("stream", "POST", "/v1/screen/stream", "screen"),
    Route("output", "POST", "/v1/screen/output", "screen"),
    Route("turns", "POST", "/v1/sessions/{id}/turns", "screen"),
    Route("status", "GET", "/v1/admin/status", "admin"),
    Route("reload", "POST", "/v1/admin/reload", "admin"),
    Route("sessions", "GET", "/v1/admin/sessions", "admin"),
    Route("release", "POST", "/v1/admin/sessions/{id}/release", "admin"),
    Route("metrics", "GET", "/metrics", "metrics"),
    Route("health", "GET", "/healthz", None),
    Route("ready", "GET", "/readyz", None),
    Route("openapi", "GET", "/openapi.json", None),
)


def route_of(method: str, path: str) -> tuple[Route, str]:
    """The route of a request and the part of its path that stands in braces.

    Raises:
        Problem: ``not-found`` or ``method-not-allowed``.
    """
    allowed = []
    for route in ROUTES:
        part = _matched(route.path, path)
        if part is None:
            continue
        if route.method == method or (route.method == "GET" and method == "HEAD"):
            return route, part
        allowed.append(route.method)
    if allowed:
        raise Problem("method-not-allowed", f"{path} has {', '.join(allowed)}", allow=allowed)
    raise Problem("not-found", f"{path[:200]!r} is none of the routes")


def _matched(pattern: str, path: str) -> str | None:
    before, brace, rest = pattern.partition("{")
    if not brace:
        return "" if path == pattern else None
    after = rest.partition("}")[2]
    if not (path.startswith(before) and path.endswith(after) and len(path) > len(before) + len(after)):
        return None
    part = path[len(before) : len(path) - len(after)]
    return unquote(part) if "/" not in part else None


def authorize(identity: Identity, route: Route) -> None:
    """Raise a Problem unless ``identity`` has the role that ``route`` needs.

    Raises:
        Problem: ``forbidden``.
    """
    if route.role is not None and route.role not in identity.roles:
        raise Problem("forbidden", f"{identity.name} lacks the role {route.role}", role=route.role)
