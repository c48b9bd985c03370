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
    settings: Settings, use_keys: Callable[[Jwks], None], *, clock: Callable[[], float], wall: Callable[[], float]
) -> Credentials:
    """All that ``settings`` let a sender prove itself with.

    ``use_keys`` is given the key set, to be read again from then on; one at a distance has not been read yet.
    ``clock``: monotonic seconds; ``wall``: seconds since 1970.

    Raises:
        AimdsError: a file cannot be used.
    """
    chains, clients, required = None, {}, False
    if settings.certificates is not None:
        chains = Chains(content(settings.certificates.client_ca))
        clients, required = settings.certificates.clients, settings.certificates.required
    tokens = None
    if settings.jwt is not None:
        remote = settings.jwt.jwks.startswith("https://")
        read = functools.partial(fetch if remote else content, settings.jwt.jwks)
        jwks = Jwks(read, remote=remote)
        if not remote:
            jwks.refresh(clock())
        use_keys(jwks)
        tokens = Tokens(settings.jwt.config, jwks, wall)
    keys = None if settings.keys is None else Keys.load(settings.keys)
    return Credentials(chains, clients, tokens, keys, required)


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
