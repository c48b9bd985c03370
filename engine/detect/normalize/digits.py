"""Alphabets: which bytes are digits of which encoding, and their values."""

from __future__ import annotations

import string
from base64 import b85encode

import numpy as np
import numpy.typing as npt

IN_64, IN_32, IN_16, DIGIT, GRAPHIC, SIGN, SIGNAL, MIDDLE = (1 << k for k in range(8))
"""Of `CLASSES`; MIDDLE are the signs that ROT47 makes of the letters from i to o."""


def _classes() -> npt.NDArray[np.uint8]:
    out = np.zeros(256, np.uint8)
    for bit, members in (
        (IN_64, string.ascii_letters + string.digits + "+/-_"),
        (IN_32, string.ascii_letters + "234567"),
        (IN_16, string.hexdigits),
        (DIGIT, string.digits),
        (GRAPHIC, "".join(map(chr, range(33, 127)))),
        (SIGN, "%&\\=U-"),
        (SIGNAL, ".-_/|"),
        (MIDDLE, ":;<=>?@"),
    ):
        for char in members:
            out[ord(char)] |= bit
    return out


def _values(alphabet: str) -> npt.NDArray[np.uint8]:
    out = np.full(256, 255, np.uint8)
    for value, char in enumerate(alphabet):
        out[ord(char)] = value
    return out


def _b85_alphabet() -> str:
    return "".join(b85encode(value.to_bytes(4, "big")).decode()[-1] for value in range(85))


CLASSES = _classes()
VALUES_64 = _values(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")
VALUES_64[ord("-")], VALUES_64[ord("_")] = 62, 63
VALUES_32 = _values(string.ascii_uppercase + "234567")
VALUES_32[97:123] = VALUES_32[65:91]
VALUES_OTHER_32 = np.stack(
    [
        _values(digits) & _values(digits.upper())
        for digits in (
            string.digits + "abcdefghijklmnopqrstuv",
            string.digits + "abcdefghjkmnpqrstvwxyz",
            "ybndrfg8ejkmcpqxot1uwisza345h769",
        )
    ]
)
VALUES_OTHER_32[1, [*b"OoIiLl"]] = [0, 0, 1, 1, 1, 1]
"""Digit values by byte, 255 for none, in either case: of base32hex, Crockford's base32 and z-base-32."""
_RADIX = (
    ("base58", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
    ("base58", "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"),
    ("base62", string.digits + string.ascii_uppercase + string.ascii_lowercase),
    ("base62", string.digits + string.ascii_lowercase + string.ascii_uppercase),
    ("base62", string.ascii_uppercase + string.ascii_lowercase + string.digits),
    ("base36", string.digits + string.ascii_lowercase),
)
RADIX_NAMES = tuple(name for name, _ in _RADIX)
RADIX_BASES = np.array([len(digits) for _, digits in _RADIX])
VALUES_RADIX = np.stack([_values(digits) for _, digits in _RADIX])
"""Digit values by byte, 255 for none, of texts that are one number: base58 as of Bitcoin and of Flickr, base62 in three
orders, base36 in either case."""
VALUES_RADIX[5, 65:91] = VALUES_RADIX[5, 97:123]
ROT13 = np.arange(256, dtype=np.uint8)
for _first in (65, 97):
    ROT13[_first : _first + 26] = np.roll(ROT13[_first : _first + 26], 13)
"""Each byte under ROT13."""
ROT47 = np.arange(256, dtype=np.uint8)
ROT47[33:127] = np.roll(ROT47[33:127], -47)
"""Each byte under ROT47."""
VALUES_16 = _values("0123456789abcdef")
VALUES_16[65:71] = VALUES_16[97:103]
VALUES_UU = np.stack(
    [_values("".join(map(chr, range(32, 96)))), _values("+-" + string.digits + string.ascii_letters.swapcase())]
)
VALUES_UU[0, 96] = 0
"""Digit values by byte, 255 for none: of uuencode, where a grave accent may stand for the blank, and of xxencode."""
VALUES_36 = _values(string.ascii_lowercase + string.digits)
VALUES_36[65:91] = VALUES_36[97:123]
"""Digit values of Punycode by byte, 255 for none."""
Z85 = string.digits + string.ascii_lowercase + string.ascii_uppercase + ".-:+=^!/*?&<>()[]{}@%$#"
VALUES_85 = np.stack([_values("".join(map(chr, range(33, 118)))), _values(_b85_alphabet()), _values(Z85)])
"""Digit values by byte, 255 for none; of base 85: Adobe's Ascii85, RFC 1924 as in Python, ZeroMQ's Z85."""
