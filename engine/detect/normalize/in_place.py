"""Text in which escapes or marked words stand: given whole with these decoded, so that what is around is read too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from aimds.detect.normalize import candidates, escapes, punycode
from aimds.detect.normalize.candidates import MIN_ESCAPES
from aimds.detect.normalize.escapes import Unescaped
from aimds.detect.normalize.proposals import Places, Proposal, Text, Trust, joined

MAX_CLUSTERS = 1024
"""Places with escapes that are kept of a text too long to be given whole."""
CONTEXT_BYTES = 256
"""What stays around each escape when a text is too long to be given whole."""
SPARSE = 32
"""With fewer escaped bytes than one in so many, a text must show words to be believed."""


def escaped(kind: str, style: int) -> Callable[[Text, int], Iterator[Proposal]]:
    """The decoder of the escapes of one ``style`` of `aimds.detect.normalize.escapes`."""

    def decode(source: Text, limit: int) -> Iterator[Proposal]:
        found = escapes.unescape(source.values, style, limit)
        at = _decoded(found)
        if np.count_nonzero(np.diff(found.begins[at], prepend=-1)) < MIN_ESCAPES:
            return
        out = found.values[at]
        if np.count_nonzero((out < 32) & (out != 9) & (out != 10) & (out != 13)) * 4 > len(at):
            return
        # A few signs that look like escapes turn up in noise of many signs by chance.
        dense = len(at) * SPARSE >= len(found.values)
        trust = Trust.PRINTABLE if dense else Trust.WORDS
        if style == candidates.QUOTED:  # a=20 and the like stand in many a text
            trust = Trust.LETTERS if len(at) * 2 >= len(found.values) else Trust.BETTER
        text, cut = _with_context(source, found, at, limit)
        yield Proposal(kind, text, trust, cut)

    return decode


def labelled(source: Text, limit: int) -> Iterator[Proposal]:
    """Words marked as Punycode."""
    found = punycode.words(source.values, limit)
    at = _decoded(found)
    if len(at):
        text, cut = _with_context(source, found, at, limit)
        # Names of domains stand in many a text, and say no more once decoded.
        yield Proposal("punycode", text, Trust.BETTER, cut)


def _decoded(found: Unescaped) -> Places:
    return np.flatnonzero(found.made & (found.ends - found.begins > 1))


def _with_context(source: Text, found: Unescaped, at: Places, limit: int) -> tuple[Text, bool]:
    if len(found.values) <= limit:
        ranges = [(0, len(found.values))]
    else:
        breaks = np.flatnonzero(np.diff(at) > 2 * CONTEXT_BYTES)
        low = np.maximum(at[np.r_[0, breaks + 1]] - CONTEXT_BYTES, 0)
        high = np.minimum(at[np.r_[breaks, len(at) - 1]] + CONTEXT_BYTES, len(found.values))
        ranges = list(zip(low[:MAX_CLUSTERS].tolist(), high[:MAX_CLUSTERS].tolist(), strict=True))
    text = joined([source.take(found.values[lo:hi], found.begins[lo:hi], found.ends[lo:hi] - 1) for lo, hi in ranges])
    return text.slice(0, limit), found.cut or len(text) > limit or len(ranges) == MAX_CLUSTERS
