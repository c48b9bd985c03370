"""One pass over the bytes of a batch that says which texts can hold an identifier, so that clean text costs no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

FEATURES = ("at", "digits", "run", "mixed", "dots", "colons")
"""Columns: ``at`` 1 where an @ stands between word bytes; ``digits`` most digits in a run broken only by short
separators; ``run`` most digits in a row; ``mixed`` longest token with a letter and two digits; ``dots`` longest chain
of digit groups joined by dots; ``colons`` longest chain of short hexadecimal groups joined by colons or hyphens."""

_DIGIT, _LETTER, _HEX, _SEPARATOR, _WORD = 1, 2, 4, 8, 16
_CLASS = np.zeros(256, np.uint8)
_CLASS[48:58] = _DIGIT | _HEX | _WORD
_CLASS[65:91] = _LETTER | _WORD
_CLASS[97:123] = _LETTER | _WORD
_CLASS[65:71] |= _HEX
_CLASS[97:103] |= _HEX
_CLASS[95] = _WORD
_CLASS[128:] = _WORD
# Space, hyphen, dot, slash, brackets, and the UTF-8 bytes of U+00A0, U+2010–2015, U+202F and U+2009.
for _b in (*b" -./()", 0xC2, 0xA0, 0xE2, 0x80, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0xAF, 0x89):
    _CLASS[_b] |= _SEPARATOR

_MAX_SEPARATORS, _MAX_OCTET, _MAX_GROUP = 4, 3, 4
_DOT, _COLON, _HYPHEN, _AT = 46, 58, 45, 64


def triage(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """FEATURES of B texts, int32 (B, 6), from ``values`` uint8 (N,) and ``offsets`` int64 (B+1,). O(N)."""
    out: npt.NDArray[np.int32] = _triage(np.ascontiguousarray(values), np.ascontiguousarray(offsets), _CLASS)
    return out


@njit(cache=True, nogil=True)
def _triage(values, offsets, kinds):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    out = np.zeros((n, 6), np.int32)
    for t in range(n):
        digits = run = gap = token = token_digits = token_letters = 0
        groups = group = chain = width = 0
        hexed = True
        at = most = longest = mixed = dots = colons = 0
        previous = 0
        for i in range(offsets[t], offsets[t + 1]):
            b = values[i]
            kind = kinds[b]
            if kind & _DIGIT:
                digits += 1
                run += 1
                gap = 0
                token += 1
                token_digits += 1
                group += 1
                width += 1
                if digits > most:
                    most = digits
                if run > longest:
                    longest = run
            else:
                run = 0
                if digits:
                    gap += 1
                    if gap > _MAX_SEPARATORS or not kind & _SEPARATOR:
                        digits = 0
                        gap = 0
                if b == _DOT and 0 < group <= _MAX_OCTET:
                    groups += 1
                    dots = max(dots, groups)
                else:
                    if groups and 0 < group <= _MAX_OCTET and groups + 1 > dots:
                        dots = groups + 1
                    groups = 0
                group = 0
                if kind & _LETTER:
                    token += 1
                    token_letters += 1
                    width += 1
                    if not kind & _HEX:
                        hexed = False
                else:
                    if token > mixed and token_digits > 1 and token_letters:
                        mixed = token
                    token = token_digits = token_letters = 0
                    if b in (_COLON, _HYPHEN):
                        if hexed and width <= _MAX_GROUP and (width or chain):
                            chain += 1 if width else 2
                            if chain + 1 > colons:
                                colons = chain + 1
                        elif b == _COLON and previous == _COLON:
                            chain = 2
                            colons = max(colons, 3)
                        else:
                            chain = 0
                    else:
                        chain = 0
                    width = 0
                    hexed = True
                inside = i > offsets[t] and i + 1 < offsets[t + 1]
                if b == _AT and inside and kinds[values[i - 1]] & _WORD and kinds[values[i + 1]] & _WORD:
                    at = 1
            previous = b
        if groups and 0 < group <= _MAX_OCTET and groups + 1 > dots:
            dots = groups + 1
        if token > mixed and token_digits > 1 and token_letters:
            mixed = token
        out[t, 0], out[t, 1], out[t, 2] = at, most, longest
        out[t, 3], out[t, 4], out[t, 5] = mixed, dots, colons
    return out
