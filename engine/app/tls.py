"""The certificate of a gateway, and the CA of its clients, for TLS over TCP and inside QUIC."""

from __future__ import annotations

import ssl

from aimds.app.credentials import content
from aimds.errors import DataError
from aimds.gateway import pem, server
from aimds.gateway.relay.link import Certified
from aimds.gateway.settings import Settings


def context(settings: Settings) -> ssl.SSLContext | None:
    """What a server over TCP needs; None where there is no certificate.

    Raises:
        DataError: as `load`.
    """
    if settings.certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["http/1.1"])
    if settings.certificates is not None:
        made.verify_mode = ssl.CERT_REQUIRED if settings.certificates.required else ssl.CERT_OPTIONAL
        # A session that is resumed knows the client's own certificate, not those that lead from it to our CA.
        made.num_tickets = 0
    load(made, settings)
    return made


def load(into: ssl.SSLContext, settings: Settings) -> None:
    """Put the certificate, and the CA of clients, into a context; new connections see them.

    Raises:
        DataError: they cannot be read, or do not fit each other.
    """
    if settings.certificate is not None and settings.key is not None:
        pem.pair(settings.certificate, settings.key)
        try:
            into.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise DataError(settings.certificate, f"and its key cannot be used: {error.strerror or error}") from error
    if settings.certificates is not None:
        pem.certificates(settings.certificates.client_ca)
        try:
            into.load_verify_locations(settings.certificates.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise DataError(settings.certificates.client_ca, f"cannot be used: {error.strerror or error}") from error


def certified(settings: Settings) -> Certified:
    """The certificate and its key, as they are in their files.

    Raises:
        DataError: they cannot be read.
    """
    return Certified(content(settings.certificate or ""), content(settings.key or ""))


def quic(settings: Settings, of: Certified) -> server.QuicConfiguration:
    """What a server over QUIC needs, with the certificate and key ``of`` the files that ``settings`` name.

    Raises:
        DataError: they cannot be used.
    """
    try:
        return server.configuration(of.certificate, of.key)
    except (ValueError, TypeError) as error:
        raise DataError(settings.certificate, f"and its key cannot be used: {error}") from error
