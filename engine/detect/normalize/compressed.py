"""Compressed bytes in an encoding (``base64 -d | gunzip``): told by their first ones, and read as far as a bound goes.

Formats: gzip (RFC 1952) and zlib (RFC 1950), both deflate (RFC 1951).
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

import numpy as np
from numba import njit

from aimds.detect.normalize.proposals import Proposal, Text

KIND: Final = "compressed"
MOST_LAYERS: Final = 4
"""Compressed bytes inside each other that are read."""
PIECE: Final = 256
"""Bytes taken at a time: what is damaged gives what came before it."""
EITHER: Final = 32 + zlib.MAX_WBITS
"""For zlib: the header says which of both formats it is."""


@njit(cache=True, nogil=True)
def is_compressed(buffer, n):  # type: ignore[no-untyped-def]
    """Whether ``buffer[:n]`` begins as gzip does, or as zlib with a window of 32 KB at any level."""
    if n < 8:
        return False
    if buffer[0] == 0x1F and buffer[1] == 0x8B:
        return buffer[2] == 8 and buffer[3] < 32
    second = buffer[1]
    return buffer[0] == 0x78 and (second == 0x01 or second == 0x5E or second == 0x9C or second == 0xDA)


def read(proposal: Proposal, limit: int) -> Proposal:
    """``proposal`` as it is, or what its bytes are when they are decompressed, ``limit`` of them at most; each stands
    for all that it was made of."""
    text = proposal.text
    if not is_compressed(text.values, len(text)):
        return proposal
    values, whole, layers = text.values.tobytes(), True, 0
    while layers < MOST_LAYERS and is_compressed(np.frombuffer(values, np.uint8), len(values)):
        inner, complete = _inflated(values, limit)
        if not inner:
            break
        values, whole, layers = inner, whole and complete, layers + 1
    if not layers:
        return proposal
    starts = np.full(len(values), text.starts.min(), np.int32)
    ends = np.full(len(values), text.ends.max(), np.int32)
    plain = Text(np.frombuffer(values, np.uint8), starts, ends)
    return replace(proposal, kind=KIND, text=plain, cut=proposal.cut or not whole)


def _inflated(content: bytes, limit: int) -> tuple[bytes, bool]:
    # The bytes, and whether those are all.
    inflating, out, width = zlib.decompressobj(EITHER), b"", PIECE
    at = 0
    while at < len(content) and len(out) < limit and not inflating.eof:
        before, piece = inflating.copy(), content[at : at + width]
        try:
            out += inflating.decompress(inflating.unconsumed_tail + piece, limit - len(out))
            at += width
        except zlib.error:
            if width == 1:
                return out, False
            # What comes before the damage in this piece counts too.
            inflating, width = before, 1
    return out, inflating.eof
