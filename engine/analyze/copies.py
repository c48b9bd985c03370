"""Near copies: texts whose n-grams are nearly the same, folded onto one before anything is compared in pairs.

MinHash by one permutation (Li, Owen & Zhang 2012, doi:10.48550/arXiv.1208.1259): each n-gram falls into one of BINS,
and the least hash of a bin stands for it. Two texts agree in about as many bins as their n-grams overlap. Bands of bins
serve as keys, so that only texts with an equal band are compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

BINS, BAND = 64, 4
EMPTY = np.uint32(0xFFFFFFFF)
SAME = 0.8
"""Share of filled bins in which a near copy agrees."""
MOST_HELD = 32
"""Originals that one band leads to: words that everybody uses would lead to all."""


def signatures(indptr: I64, indices: I32) -> U32:
    """Signatures uint32 (T, BINS) of T texts, from their features as `kernels.ngram_hash` gives them."""
    mixed = indices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    out = np.full((len(indptr) - 1) * BINS, EMPTY, np.uint32)
    places = row * BINS + (mixed >> np.uint64(58)).astype(np.int64)
    np.minimum.at(out, places, (mixed >> np.uint64(20)).astype(np.uint32) & np.uint32(0x7FFFFFFF))
    return out.reshape(-1, BINS)


def originals(found: U32) -> I64:
    """Which text each of T is a near copy of, int64 (T,): itself, or an earlier one that is itself no copy.

    Every text is held against the originals that share a band with it and goes to the likeliest, of equals the first.
    A text without features is nobody's copy.
    """
    out = np.arange(len(found), dtype=np.int64)
    filled = found != EMPTY
    holders: list[dict[bytes, list[int]]] = [{} for _ in range(0, BINS, BAND)]
    for text in np.flatnonzero(filled.any(axis=1)).tolist():
        raw = found[text].tobytes()
        bands = [
            (held, raw[4 * at : 4 * (at + BAND)])
            for at, held in zip(range(0, BINS, BAND), holders, strict=True)
            if filled[text, at : at + BAND].any()
        ]
        near = sorted({one for held, key in bands for one in held.get(key, ())})
        if near:
            either = filled[near] | filled[text]
            agree = ((found[near] == found[text]) & either).sum(axis=1) / either.sum(axis=1)
            best = int(np.argmax(agree))
            if agree[best] >= SAME:
                out[text] = near[best]
                continue
        for held, key in bands:
            known = held.setdefault(key, [])
            if len(known) < MOST_HELD:
                known.append(text)
    return out
