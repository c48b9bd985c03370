"""The script a text is written in, by the most frequent among its letters: benign tails may differ by script."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

SCRIPTS = ("latin", "cyrillic", "cjk", "arabic", "other")
LATIN, CYRILLIC, CJK, ARABIC, OTHER = range(5)
_NO_LETTER = len(SCRIPTS)

_RANGES = (
    (0x0041, 0x005A, LATIN),
    (0x0061, 0x007A, LATIN),
    (0x00C0, 0x024F, LATIN),
    (0x0370, 0x03FF, OTHER),
    (0x0400, 0x052F, CYRILLIC),
    (0x0530, 0x05FF, OTHER),
    (0x0600, 0x077F, ARABIC),
    (0x0780, 0x089F, OTHER),
    (0x08A0, 0x08FF, ARABIC),
    (0x0900, 0x10FF, OTHER),
    (0x1100, 0x11FF, CJK),
    (0x1200, 0x1DFF, OTHER),
    (0x1E00, 0x1EFF, LATIN),
    (0x1F00, 0x1FFF, OTHER),
    (0x3040, 0x33FF, CJK),
    (0x3400, 0x9FFF, CJK),
    (0xA000, 0xA63F, OTHER),
    (0xA640, 0xA69F, CYRILLIC),
    (0xA700, 0xA7FF, LATIN),
    (0xA800, 0xABFF, OTHER),
    (0xAC00, 0xD7FF, CJK),
    (0xF900, 0xFAFF, CJK),
    (0xFB40, 0xFDFF, ARABIC),
    (0xFE70, 0xFEFF, ARABIC),
    (0xFF00, 0xFF5F, LATIN),
    (0xFF60, 0xFFDF, CJK),
    (0x20000, 0x3FFFF, CJK),
)
"""Code points, both ends included, and the script they count for; what is not listed is no letter of any script."""


def _table() -> npt.NDArray[np.uint8]:
    # By the first two bytes of a character: below U+0800 they say which it is, above they name a block of at least 64.
    table = np.full((256, 256), _NO_LETTER, np.uint8)
    for first, last, script in _RANGES:
        if last < 0x80:
            table[first : last + 1] = script
            continue
        for code in range(first, last + 1, 1 if last < 0x800 else 64):
            encoded = chr(code).encode("utf-8", "surrogatepass")
            table[encoded[0], encoded[1]] = script
    return table


_SCRIPT_AT = _table()


def scripts(values: Bytes, offsets: Offsets) -> Codes:
    """Script of each of B texts, int8 (B,) into SCRIPTS; other where a text has no letter.

    ``values`` uint8 (N,) is UTF-8, which may be invalid, ``offsets`` int64 (B+1,). Of scripts that are equally frequent
    the first counts. O(N)
    """
    return np.asarray(_most_frequent(values, offsets, _SCRIPT_AT), np.int8)


@njit(cache=True, nogil=True)
def _most_frequent(values, offsets, script_at):  # type: ignore[no-untyped-def]
    out = np.empty(len(offsets) - 1, np.int8)
    counts = np.empty(_NO_LETTER + 1, np.int64)
    for row in range(len(out)):
        counts[:] = 0
        stop = offsets[row + 1]
        for i in range(offsets[row], stop):
            following = values[i + 1] if i + 1 < stop else np.uint8(0)
            counts[script_at[values[i], following]] += 1
        best = OTHER if counts[:_NO_LETTER].sum() == 0 else counts[:_NO_LETTER].argmax()
        out[row] = best
    return out
