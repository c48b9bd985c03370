"""Compressed bytes in an encoding (``base64 -d | gunzip``): told by their first ones, and read as far as a bound goes.

Formats: gzip (RFC 1952) and zlib (RFC 1950), both deflate (RFC 1951).
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

import numpy as np

from aimds.detect.normalize.heads import is_compressed
from aimds.detect.normalize.proposals import Bytes, Proposal, Text

KIND: Final = "compressed"
MOST_LAYERS: Final = 4
"""Compressed bytes inside each other that are read."""
MIN_DAMAGED: Final = 32
"""Bytes that come before the damage, below which these are no compressed ones: noise gives a few as well."""
HEAD: Final = 24
"""Bytes by which they are told."""
PIECE: Final = 256
"""Bytes taken at a time: what is damaged gives what came before it."""
EITHER: Final = 32 + zlib.MAX_WBITS
"""For zlib: the header says which of both formats it is."""


def read(proposal: Proposal, limit: int) -> tuple[Proposal, int]:
    """``proposal`` as it is, or what its bytes are when they are decompressed, each of which stands for all that it was
    made of; and how many bytes were made, those of layers between counted, at most ``limit``."""
    text = proposal.text
    values, whole, layers, made = text.values.tobytes(), True, 0, 0
    while layers < MOST_LAYERS and begins(np.frombuffer(values, np.uint8)) and made < limit:
        inner, complete = _inflated(values, limit - made)
        if not inner or (not complete and len(inner) < MIN_DAMAGED):
            break
        values, whole, layers, made = inner, whole and complete, layers + 1, made + len(inner)
    if not layers:
        return proposal, 0
    starts = np.full(len(values), text.starts.min(), np.int32)
    ends = np.full(len(values), text.ends.max(), np.int32)
    plain = Text(np.frombuffer(values, np.uint8), starts, ends)
    return replace(proposal, kind=KIND, text=plain, cut=proposal.cut or not whole), made


def begins(values: Bytes) -> bool:
    """Whether ``values`` uint8 (N,) begin as compressed bytes do."""
    return bool(is_compressed(values, min(HEAD, len(values))))


def _inflated(content: bytes, limit: int) -> tuple[bytes, bool]:
    # The bytes of all that was compressed one behind the other, and whether those are all.
    inflating, out, width, at = zlib.decompressobj(EITHER), b"", PIECE, 0
    while at < len(content) and len(out) < limit:
        before, piece = inflating.copy(), content[at : at + width]
        try:
            out += inflating.decompress(inflating.unconsumed_tail + piece, limit - len(out))
            at += width
        except zlib.error:
            if width == 1:
                return out, False
            # What comes before the damage in this piece counts too.
            inflating, width = before, 1
        if inflating.eof:
            rest = inflating.unused_data + content[at:]
            if not begins(np.frombuffer(rest, np.uint8)):
                return out, True
            inflating, content, at = zlib.decompressobj(EITHER), rest, 0
    return out, inflating.eof
