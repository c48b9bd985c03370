"""Packets opened within the bounds of aioquic's helper in C, which does not look at them."""

from __future__ import annotations

from typing import Final

from aioquic._crypto import CryptoError
from aioquic.quic.crypto import CryptoContext

LIBRARY_BYTES: Final = 1500
"""Of the helper's buffers: a header that is longer is written beyond them."""
SAMPLED: Final = 20
"""From the first byte of a packet number to the last of the sample behind it (RFC 9001, section 5.4.2)."""


class Keys(CryptoContext):
    """The keys of aioquic that it is made of, but that what is no packet they can open is not tried."""

    def __init__(self, keys: CryptoContext) -> None:
        vars(self).update(vars(keys))

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int, bool]:
        """As in aioquic."""
        bounded(packet, encrypted_offset)
        return super().decrypt_packet(packet, encrypted_offset, expected_packet_number)


def bounded(packet: bytes, start: int) -> None:
    """Whether the header of ``packet``, the protected part of which begins at ``start``, can be read.

    Raises:
        CryptoError: it ends before its sample, or has a token that is too long.
    """
    if start + SAMPLED > min(len(packet), LIBRARY_BYTES):
        raise CryptoError("no packet that can be opened")
