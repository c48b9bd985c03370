"""Whether what settings name is there and can be read, found out before models are: each refusal names key and file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from aimds.errors import ConfigError
from aimds.gateway import pem
from aimds.gateway.settings.values import SHIPPED, Settings


def check(settings: Settings) -> None:
    """Look at every file that ``settings`` name; nothing is made, nothing big is read.

    Raises:
        ConfigError: one is missing or cannot be read, or the folder of one that will be written is missing.
        DataError: a certificate or a key is not what it should be.
    """
    for key, path in _read(settings):
        _readable(key, path)
    for key, path in _written(settings):
        above = path.absolute().parent
        if not above.is_dir():
            raise ConfigError(key, str(path), f"a file in a folder that is there; there is no folder {above}")
    if settings.certificate is not None and settings.key is not None:
        pem.pair(settings.certificate, settings.key)
    if settings.certificates is not None:
        pem.certificates(settings.certificates.client_ca)


def _read(settings: Settings) -> Iterator[tuple[str, Path]]:
    found: dict[str, Path | None] = {
        "tls.certificate": settings.certificate,
        "tls.key": settings.key,
        "auth.keys": settings.keys,
        "screening.policy": settings.screening.policy,
        "screening.patterns": settings.screening.patterns,
        "screening.calibration": settings.screening.calibration,
        "screening.learned": settings.screening.learned,
        "routing.tiers": settings.tiers,
    }
    if settings.certificates is not None:
        found["auth.certificates.client_ca"] = settings.certificates.client_ca
    if settings.jwt is not None and not settings.jwt.jwks.startswith("https://"):
        found["auth.jwt.jwks"] = Path(settings.jwt.jwks)
    if settings.audit is not None:
        found |= {"audit.key": settings.audit.key, "audit.signing_key": settings.audit.signing_key}
    if settings.sessions is not None and settings.sessions.policies != SHIPPED:
        found["sessions.policies"] = settings.sessions.policies
    yield from ((key, path) for key, path in found.items() if path is not None)


def _written(settings: Settings) -> Iterator[tuple[str, Path]]:
    found: dict[str, Path | str | None] = {
        "audit.path": None if settings.audit is None else settings.audit.path,
        "respond.holds": settings.holds,
        "respond.notify": settings.notify,
        "review.path": None if settings.review is None else settings.review.where,
        "sessions.snapshot": None if settings.sessions is None else settings.sessions.snapshot,
    }
    yield from ((key, path) for key, path in found.items() if isinstance(path, Path))


def _readable(key: str, path: Path) -> None:
    folder = key in ("screening.patterns", "screening.calibration", "screening.learned")
    kind = "folder" if folder else "file"
    try:
        if folder:
            os.listdir(path)
        else:
            with path.open("rb"):
                pass
    except OSError as error:
        raise ConfigError(key, str(path), f"a {kind} that can be read ({error.strerror or error})") from None
