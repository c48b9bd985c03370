"""The word rule that ngram_hash and tokenize share.

A byte is part of a word if it is an ASCII letter or digit or is above 0x7F; all else separates words. A code point of
three bytes whose first is 0xE3 or more (kana, CJK, hangul) is a word of its own, as these scripts put no spaces.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

SPACE: Final = 32


def _fold() -> npt.NDArray[np.uint8]:
    table = np.full(256, SPACE, np.uint8)
    table[0x80:] = np.arange(0x80, 0x100)
    for letter in b"0123456789abcdefghijklmnopqrstuvwxyz":
        table[letter] = letter
    for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[letter] = letter + 32
    table.flags.writeable = False
    return table


FOLD: Final = _fold()
"""uint8 (256,): the byte to take for each byte, SPACE where it separates words."""
