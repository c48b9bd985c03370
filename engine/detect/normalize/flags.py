"""Flags of a row: what folding and unwrapping met in it."""

from __future__ import annotations

import enum


class Flag(enum.IntFlag):
    """What folding and unwrapping met in a row. The invisible kinds are set where they have no ordinary use:
    zero-width characters between two ASCII characters, tags outside an emoji flag, variation selectors in a run or
    after an ASCII letter.
    """

    NON_ASCII = 1
    ZERO_WIDTH = 2
    TAGS = 4
    BIDI = 8
    VARIATION = 16
    CONFUSABLE = 32
    COMBINING = 64
    DISGUISE = 128
    SPACED = 256
    LEET = 512
    INVALID_UTF8 = 1024
    ENCODED = 2048
