"""Who may ask: certificates, key sets and API keys, read from where the settings say."""

from __future__ import annotations

import functools
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from aimds.errors import DataError
from aimds.gateway.auth import Credentials
from aimds.gateway.certificates import Chains
from aimds.gateway.keys import Keys
from aimds.gateway.settings import Settings
from aimds.gateway.tokens import MAX_JWKS, Jwks, Tokens

FETCH_S = 10.0


def credentials(
    settings: Settings, before: Jwks | None = None, *, clock: Callable[[], float], wall: Callable[[], float]
) -> Credentials:
    """All that ``settings`` let a sender prove itself with.

    ``before``: the key set in force. One at the same https address goes on with the keys it has; one at another has
    been read here, unless there is none to take the place of.
    ``clock``: monotonic seconds; ``wall``: seconds since 1970.

    Raises:
        AimdsError: a file cannot be used, or a key set cannot be fetched that is to take the place of another.
    """
    chains, clients, required = None, {}, False
    if settings.certificates is not None:
        chains = Chains(content(settings.certificates.client_ca))
        clients, required = settings.certificates.clients, settings.certificates.required
    tokens = None
    if settings.jwt is not None:
        jwks = _key_set(settings.jwt.jwks, before, clock)
        tokens = Tokens(settings.jwt.config, jwks, wall)
    keys = None if settings.keys is None else Keys.load(settings.keys)
    return Credentials(chains, clients, tokens, keys, required)


def _key_set(source: str, before: Jwks | None, clock: Callable[[], float]) -> Jwks:
    remote = source.startswith("https://")
    # The address may not answer just now: nobody is to be locked out by that.
    if remote and before is not None and before.source == source:
        return before
    found = Jwks(functools.partial(fetch if remote else content, source), remote=remote, source=source)
    if not remote or before is not None:
        found.refresh(clock())
    return found


def content(path: Path | str) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        return None


def fetch(address: str) -> bytes:
    """What lies at an https ``address``, which is not left for another one.

    Raises:
        DataError: it cannot be fetched.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(address, timeout=FETCH_S) as answer:
            return bytes(answer.read(MAX_JWKS + 1))
    except (OSError, ValueError) as error:
        raise DataError(address, f"cannot be fetched: {error}") from error
