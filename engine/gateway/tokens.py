"""JSON Web Tokens (RFC 7519): two algorithms, required claims, keys from a JWKS that may rotate.

The algorithm is that of the key, never that of the token; ``kid`` only picks a key out of a dictionary; a key that
travels in the token itself, or an address to fetch one from, is a reason to refuse.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway.identity import ROLES, Identity
from aimds.gateway.problem import Problem
from aimds.ids import MAX_ID_BYTES, short

MAX_TOKEN = 8192
MAX_JWKS = 1 << 20
LEAST_RSA_BITS = 2048
MOST_CACHED = 10_000
RETRY_S = 10.0
"""An unknown key id has the key set read again, but not more often."""
FORBIDDEN = ("jwk", "jku", "x5u", "x5c", "crit")
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
ANY_TENANT = "*"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the one algorithm it is for."""

    algorithm: str
    public: Any


def parse_jwks(content: bytes) -> dict[str, Key]:
    """The RS256 and ES256 keys in a JWKS (RFC 7517), by id; others are left out.

    Raises:
        ConfigError: it is no JWKS, two keys have one id, or none can be used.
    """
    try:
        listed = json.loads(content)["keys"]
        keys = [item for item in listed if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError("jwks", f"{len(content)} bytes", "a JSON object with a list of keys") from None
    out: dict[str, Key] = {}
    for item in keys:
        key, kid = _key(item), item.get("kid")
        if key is None or not isinstance(kid, str):
            continue
        if kid in out:
            raise ConfigError("jwks.kid", kid, "an id that only one key has")
        out[kid] = key
    if not out:
        raise ConfigError("jwks", f"{len(keys)} keys", "an RSA or P-256 key with a kid, for RS256 or ES256")
    return out


def _key(item: dict[str, Any]) -> Key | None:
    if "d" in item or item.get("use", "sig") != "sig":
        return None
    try:
        if item.get("kty") == "RSA" and item.get("alg", "RS256") == "RS256":
            modulus: Any = RSAAlgorithm.from_jwk(item)
            fits = isinstance(modulus, rsa.RSAPublicKey) and modulus.key_size >= LEAST_RSA_BITS
            return Key("RS256", modulus) if fits else None
        if item.get("kty") == "EC" and item.get("crv") == "P-256" and item.get("alg", "ES256") == "ES256":
            point: Any = ECAlgorithm.from_jwk(item)
            return Key("ES256", point) if isinstance(point, ec.EllipticCurvePublicKey) else None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None


class Jwks:
    """Keys that are read again when they may have changed, from any thread; of several at once, who began last counts.

    Args:
        read: gives the content; a file is read here and now, an address by who owns the network, see ``remote``.
        remote: reading takes long, so an unknown id only asks for a `refresh`.
        source: where it is read from, for who compares.
    """

    def __init__(self, read: Callable[[], bytes], *, remote: bool = False, source: str = "") -> None:
        self._read, self.remote, self.source = read, remote, source
        self._keys: dict[str, Key] = {}
        self._tried = float("-inf")
        self._begun, self._last, self._changing = itertools.count(1), 0, threading.Lock()
        self.wanted: Callable[[], None] = lambda: None
        """Called when an unknown id asks for a `refresh`."""
        self.generation = 0
        """Counts changes of the set."""

    def refresh(self, now: float) -> None:
        """Read the set; one that cannot be read or used leaves the old one in force.

        Raises:
            AimdsError: why it cannot.
        """
        self._tried, mine = now, next(self._begun)
        content = self._read()
        if len(content) > MAX_JWKS:
            raise DataError("jwks", f"has {len(content)} bytes, at most {MAX_JWKS} are taken")
        keys = parse_jwks(content)
        with self._changing:
            # An answer that was long on its way does not undo what was read since.
            if mine > self._last:
                self._last = mine
                if keys != self._keys:
                    self._keys = keys
                    self.generation += 1

    def get(self, kid: str, now: float) -> Key | None:
        """The key with this id, after another look at the source if it is unknown."""
        key = self._keys.get(kid)
        if key is not None or now - self._tried < RETRY_S:
            return key
        if self.remote:
            self.wanted()
            return None
        try:
            self.refresh(now)
        except AimdsError:
            return None
        return self._keys.get(kid)


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """``issuer`` and ``audience`` that a token must name; claims that hold tenant and roles; tolerance of clocks."""

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    leeway_s: float = 30.0
    max_age_s: float = 86_400.0


class Tokens:
    """Checks tokens against ``keys``.

    Args:
        wall: seconds since 1970, for the times in a token.
    """

    def __init__(self, config: TokenConfig, keys: Jwks, wall: Callable[[], float]) -> None:
        self._config, self.keys, self._wall = config, keys, wall
        self._verified: OrderedDict[bytes, tuple[Identity, float, int]] = OrderedDict()

    def identity(self, token: str, now: float) -> Identity:
        """Whom ``token`` names.

        Raises:
            Problem: ``unauthenticated``, with the reason.
        """
        if len(token) > MAX_TOKEN:
            raise Problem("unauthenticated", f"the token has more than {MAX_TOKEN} characters")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        if known is not None and known[1] > self._wall() and known[2] == self.keys.generation:
            return known[0]
        self._verified.pop(digest, None)
        # Before the check: a key that is taken out while it goes on is not to count as one of the new set.
        generation = self.keys.generation
        try:
            identity, until = self._check(token, now)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise Problem("unauthenticated", f"the token is not valid: {str(error)[:200]}") from None
        self._verified[digest] = identity, until, generation
        while len(self._verified) > MOST_CACHED:
            self._verified.popitem(last=False)
        return identity

    def _check(self, token: str, now: float) -> tuple[Identity, float]:
        config = self._config
        header = jwt.get_unverified_header(token)
        carried = [name for name in FORBIDDEN if name in header]
        if carried:
            raise ValueError(f"it carries {', '.join(carried)}")
        kid = header.get("kid")
        key = self.keys.get(kid, now) if isinstance(kid, str) else None
        if key is None:
            raise ValueError(f"no key has the id {str(kid)[:80]!r}")
        if header.get("alg") != key.algorithm:
            raise ValueError(f"algorithm {str(header.get('alg'))[:20]!r} is not that of the key, {key.algorithm}")
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=config.audience,
            issuer=config.issuer,
            options={"require": REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        until = self._times(claims)
        subject, tenant, roles = claims["sub"], claims.get(config.tenant_claim), claims.get(config.roles_claim, [])
        if not isinstance(subject, str) or not subject:
            raise ValueError("sub is no text")
        for name, value in (("sub", subject), (config.tenant_claim, tenant)):
            if not isinstance(value, str):
                continue
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(f"{name} holds half a pair of surrogates, which is no text")
            if short(value) != value:
                raise ValueError(f"{name} is longer than {MAX_ID_BYTES} bytes")
        if not isinstance(tenant, str) or not tenant:
            raise ValueError(f"{config.tenant_claim} is missing; {ANY_TENANT!r} is any tenant")
        if isinstance(roles, str):
            roles = roles.split()
        if not isinstance(roles, list):
            raise ValueError(f"{config.roles_claim} is no list")
        known = frozenset(role for role in roles if role in ROLES)
        return Identity(subject, None if tenant == ANY_TENANT else tenant, known, "jwt"), until

    def _times(self, claims: dict[str, Any]) -> float:
        now, leeway = self._wall(), self._config.leeway_s
        times = {}
        for name in ("exp", "iat", "nbf"):
            value = claims.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
                raise ValueError(f"{name} is no time")
            times[name] = float(value)
        if times["exp"] + leeway <= now:
            raise ValueError("it has expired")
        if times["iat"] - leeway > now or times["nbf"] - leeway > now:
            raise ValueError("it is not valid yet")
        if times["exp"] - times["iat"] > self._config.max_age_s:
            raise ValueError(f"it lives longer than {self._config.max_age_s:g} s")
        return times["exp"] + leeway
