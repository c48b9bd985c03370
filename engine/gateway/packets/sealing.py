"""Packets sealed and opened (RFC 9001, section 5), of whatever size.

aioquic's helper in C is the faster one, but its buffers have 1,500 bytes, and it does not look whether a header fits.
What is larger is sealed and opened by `cryptography`; the header's protection is the helper's all the same, since it
takes 20 bytes alone. Aioquic drops the keys in use as soon as they change, and with them what is under way; here they
open what comes late (RFC 9001, section 6.5).
"""

from __future__ import annotations

import math
from typing import Any, Final

from aioquic._crypto import CryptoError
from aioquic.quic.crypto import CryptoContext, CryptoPair, KeyUnavailableError, derive_key_iv_hp, next_key_phase
from aioquic.quic.packet import decode_packet_number
from aioquic.tls import CipherSuite
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

LIBRARY_BYTES: Final = 1500
"""Of the helper's buffers: what is longer is written beyond them, or refused."""
SAMPLED: Final = 20
"""From the first byte of a packet number to the last of the sample behind it (RFC 9001, section 5.4.2)."""
TAG: Final = 16
NONE_YET: Final = 1 << 62
"""Beyond all packet numbers."""


class Keys(CryptoContext):
    """The keys of aioquic that it is made of, for packets of any size."""

    def __init__(self, keys: CryptoContext) -> None:
        vars(self).update(vars(keys))
        self._large: Large | None = None
        self._next: Keys | None = None
        """Those that come after these, once a packet asked for them."""
        self.before: Keys | None = None
        self._least, self._until = NONE_YET, math.inf
        """Of the packets that these have opened the lowest number, and when those before are dropped."""

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int, bool]:
        """As in aioquic. What ends before its sample, or has a token beyond all measure, is no packet."""
        hp: Any = self.hp
        if hp is None:
            raise KeyUnavailableError("Decryption key is not available")
        size, stop = len(packet), encrypted_offset + SAMPLED
        if stop > size or stop > LIBRARY_BYTES:
            raise CryptoError("no packet that can be opened")
        header, truncated = hp.remove(packet, encrypted_offset)
        first = header[0]
        number = decode_packet_number(truncated, 8 * ((first & 3) + 1), expected_packet_number)
        keys, changed = self, False
        if not first & 0x80 and first >> 2 & 1 != self.key_phase:
            if self.before is not None and number < self._least:
                keys = self.before
            else:
                keys, changed = self._following(), True
        content, aead = packet[len(header) :], keys.aead
        if size <= LIBRARY_BYTES:
            assert aead is not None
            content = aead.decrypt(content, header, number)
        else:
            content = keys._of_large().opened(header, content, number)
        if changed:
            self.keep(number)
        elif self.before is not None and keys is self and number < self._least:
            self._least = number
        return header, content, number, changed

    def keep(self, least: int = NONE_YET) -> None:
        """Open with these what comes late, as others take their place, which opened packet ``least`` if any."""
        self.before, self._next = Keys(self), None
        self._least, self._until = least, math.inf

    def drop(self, now: float, wait_s: float) -> None:
        """Drop those before, ``wait_s`` seconds after the other end was seen to have changed them."""
        if self._least == NONE_YET:
            return
        self._until = min(self._until, now + wait_s)
        if now >= self._until:
            self.before = None

    def encrypt_packet(self, plain_header: bytes, plain_payload: bytes, packet_number: int) -> bytes:
        """As in aioquic."""
        hp, aead = self.hp, self.aead
        assert hp is not None
        assert aead is not None
        if len(plain_header) + len(plain_payload) + TAG <= LIBRARY_BYTES:
            return hp.apply(plain_header, aead.encrypt(plain_payload, plain_header, packet_number))
        sealed = self._of_large().sealed(plain_header, plain_payload, packet_number)
        return hp.apply(plain_header, sealed[:SAMPLED])[: len(plain_header)] + sealed

    def _following(self) -> Keys:
        found = self._next
        if found is None:
            found = self._next = Keys(next_key_phase(self))
        return found

    def _of_large(self) -> Large:
        found = self._large
        # Aioquic puts others in the place of its own when they change.
        if found is None or found.secret is not self.secret:
            found = self._large = Large(self)
        return found


class Pair(CryptoPair):
    """The keys of ordinary packets, made of those of aioquic."""

    send: Keys
    recv: Keys

    def __init__(self, pair: CryptoPair) -> None:
        vars(self).update(vars(pair))
        self.since: int | None = None
        """Number of the first packet that these sealed."""

    def _update_key(self, trigger: str) -> None:
        # The other end goes on with those before until it hears of it. Where it began, its packet has them kept.
        if trigger == "local_update":
            self.recv.keep()
        super()._update_key(trigger)
        self.since = None


class Large:
    """Content beyond the helper's buffers, under ``keys`` (RFC 9001, section 5.3)."""

    def __init__(self, keys: CryptoContext) -> None:
        suite, self.secret = keys.cipher_suite, keys.secret
        assert suite is not None
        assert self.secret is not None
        assert keys.version is not None
        key, iv, _ = derive_key_iv_hp(cipher_suite=suite, secret=self.secret, version=keys.version)
        self._cipher = (ChaCha20Poly1305 if suite == CipherSuite.CHACHA20_POLY1305_SHA256 else AESGCM)(key)
        self._iv = int.from_bytes(iv, "big")

    def sealed(self, header: bytes, content: bytes, number: int) -> bytes:
        """``content`` and its tag."""
        return self._cipher.encrypt((self._iv ^ number).to_bytes(12, "big"), content, header)

    def opened(self, header: bytes, content: bytes, number: int) -> bytes:
        """What was sealed; raises CryptoError where it is another."""
        try:
            return self._cipher.decrypt((self._iv ^ number).to_bytes(12, "big"), content, header)
        except InvalidTag:
            raise CryptoError("Payload decryption failed") from None
