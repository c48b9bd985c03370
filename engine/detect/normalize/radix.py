"""Text as one large number (base58, base62, base36), and the alphabets of base32 beside that of RFC 4648 §6: base32hex
(§7), Crockford's and z-base-32.

A number is read in time that grows with the square of its digits, so both its digits and those of one text are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import re2
from numba import njit

from aimds.detect.normalize import blobs
from aimds.detect.normalize.digits import RADIX_BASES, RADIX_NAMES, VALUES_OTHER_32, VALUES_RADIX
from aimds.detect.normalize.heads import FIRST_BYTES, is_number, is_other_base32, printable
from aimds.detect.normalize.proposals import Proposal, Text, Trust

MAX_DIGITS = 4096
"""Digits of one number."""
MAX_SQUARES = 4 * MAX_DIGITS**2
"""Squared digits of all numbers in one text, which is what they cost: of short ones, as ids are, there may be many."""
LOOKED_AT = 64
"""Bytes of a number that are to be text."""
_RUN, _NUMBER = re2.compile(rb"[0-9A-Za-z]{16,}"), re2.compile(rb"[0-9A-Za-z]{24,}")


def numbers(source: Text, limit: int) -> Iterator[Proposal]:
    """Runs of letters and digits that are one number in base 58, 62 or 36."""
    left = MAX_SQUARES
    buffer = np.empty(FIRST_BYTES, np.uint8)
    for match in _NUMBER.finditer(source.values.tobytes()):
        start, stop = match.span()
        for alphabet, name in enumerate(RADIX_NAMES):
            if not is_number(source.values, start, stop, alphabet, buffer):
                continue
            n = stop - start
            if n > MAX_DIGITS or n * n > left:
                yield Proposal(name, source.slice(start, start + min(n, limit)), Trust.LETTERS, cut=True)
                continue
            left -= n * n
            values = _bytes(VALUES_RADIX[alphabet][source.values[start:stop]], RADIX_BASES[alphabet])
            # Of random digits one number in nine begins like text; hardly one goes on so.
            if not printable(values[:LOOKED_AT], min(LOOKED_AT, len(values))):
                continue
            k = np.arange(len(values), dtype=np.int64)
            first, last = start + k * n // len(values), start + ((k + 1) * n - 1) // len(values)
            text = source.take(values, first, last)
            yield Proposal(name, text.slice(0, limit), Trust.LETTERS, cut=len(text) > limit)


def other_base32(source: Text, limit: int) -> Iterator[Proposal]:
    """Runs of letters in one case and digits, five bits each, in the alphabets beside that of RFC 4648 §6."""
    buffer = np.empty(24, np.uint8)
    for match in _RUN.finditer(source.values.tobytes()):
        start, stop = match.span()
        if not is_other_base32(source.values, start, stop, buffer):
            continue
        for table in VALUES_OTHER_32:
            digits = table[source.values[start : min(stop, start + limit * 8 // 5 + 1)]]
            if (digits == 255).any():
                continue
            values = blobs.pack(digits, 5, 8)
            if not printable(values[:24], min(24, len(values))):
                continue
            k = np.arange(len(values), dtype=np.int64)
            text = source.take(values, start + k * 8 // 5, start + (k * 8 + 7) // 5)
            yield Proposal("base32", text.slice(0, limit), Trust.LETTERS, cut=stop - start > len(digits))


@njit(cache=True, nogil=True)
def _bytes(digits, base):  # type: ignore[no-untyped-def]
    # The number with these digits, its highest byte first. O(N²).
    words = np.zeros(len(digits) * 6 // 32 + 1, np.uint64)
    used = 0
    for digit in digits:
        held = np.uint64(digit)
        for k in range(used):
            held += words[k] * np.uint64(base)
            words[k] = held & np.uint64(0xFFFFFFFF)
            held >>= np.uint64(32)
        if held:
            words[used] = held
            used += 1
    out = np.empty(4 * used, np.uint8)
    n = 0
    for k in range(used - 1, -1, -1):
        for shift in (24, 16, 8, 0):
            byte = np.uint8(words[k] >> np.uint64(shift) & np.uint64(0xFF))
            if n or byte:
                out[n] = byte
                n += 1
    return out[:n]
