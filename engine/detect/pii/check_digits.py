"""Check-digit algorithms: what the identifiers of `aimds.detect.pii.checksums` and wallet addresses are made of.

Every function takes a candidate with its separators, ignores what is not an ASCII letter or digit, and never raises.
"""

from __future__ import annotations

import hashlib

_BASE58 = {c: i for i, c in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BECH32 = {c: i for i, c in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_VERHOEFF_D = tuple(
    tuple(int(c) for c in row)
    for row in ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
                "5987604321", "6598710432", "7659821043", "8765932104", "9876543210")
)  # fmt: skip
_VERHOEFF_P = tuple(
    tuple(int(c) for c in row)
    for row in ("0123456789", "1576283094", "5803796142", "8916043527",
                "9453126870", "4286573901", "2793806415", "7046913258")
)  # fmt: skip


def digits(text: str) -> list[int]:
    """The ASCII digits of ``text``."""
    return [ord(c) - 48 for c in text if "0" <= c <= "9"]


def alphanumerics(text: str) -> str:
    """The ASCII letters (upper-cased) and digits of ``text``."""
    return "".join(c for c in text if c.isascii() and c.isalnum()).upper()


def weighted(values: list[int], weights: tuple[int, ...]) -> int:
    return sum(a * b for a, b in zip(values, weights, strict=False))


def varied(values: list[int]) -> bool:
    return len(set(values)) > 1


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1 annex B: double every second digit from the right, sum is a multiple of 10."""
    total = 0
    values = digits(text)
    for i, d in enumerate(reversed(values)):
        total += d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2)
    return len(values) > 1 and varied(values) and total % 10 == 0


def mod_11_10(values: list[int]) -> int:
    """The check digit of ISO 7064 MOD 11,10 over ``values``."""
    product = 10
    for d in values:
        total = (d + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10


def verhoeff(text: str) -> bool:
    """Verhoeff's dihedral check (J. Verhoeff, Error Detecting Decimal Codes, 1969)."""
    c = 0
    values = digits(text)
    for i, d in enumerate(reversed(values)):
        c = _VERHOEFF_D[c][_VERHOEFF_P[i % 8][d]]
    return len(values) > 1 and c == 0


def base58check(text: str) -> bool:
    """Bitcoin address: Base58Check, double SHA-256, 25 bytes, version 0x00 or 0x05."""
    if not text or any(c not in _BASE58 for c in text) or len(text) > 40:
        return False
    number = 0
    for c in text:
        number = number * 58 + _BASE58[c]
    raw = number.to_bytes(32, "big")[-25:]
    if number >> 200 or raw[0] not in (0, 5) or len(text) - len(text.lstrip("1")) != len(raw) - len(raw.lstrip(b"\0")):
        return False
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def bech32(text: str) -> bool:
    """Segwit address: BIP-173 (constant 1) for version 0, BIP-350 (constant 0x2bc830a3) above."""
    s = text.lower()
    if text not in (s, text.upper()):
        return False
    prefix, _, data = s.rpartition("1")
    if not prefix or len(data) < 8 or len(s) > 90 or any(c not in _BECH32 for c in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32[c] for c in data]
    checksum = 1
    for v in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= g if top >> i & 1 else 0
    return checksum == (1 if data[0] == "q" else 0x2BC830A3)
