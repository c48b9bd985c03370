"""The linear heads over concepts, and how their scores join those of the heads over n-grams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import kernels
from aimds.detect.concepts import pairs
from aimds.detect.concepts.lexicon import MAIN, Arrays, Lexicon
from aimds.detect.concepts.lookup import Found
from aimds.detect.concepts.pairs import FEATURES
from aimds.kernels import ragged

F32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

REACH = 8
"""Concepts that stand farther apart make no pair."""
FEWEST = 2
"""A window with fewer concepts says nothing."""
SHARE = np.float32(0.5)
"""What the concepts' score counts beside that of the n-grams in English, where both learnt from as many texts."""
FOREIGN = np.float32(1.0)
"""What the n-grams' score counts beside that of the concepts in other languages."""
SILENT = np.float32(-1.5)
"""Score of a window that says nothing, in each head."""


@dataclass(frozen=True, slots=True)
class Concepts:
    """Weights int8 (FEATURES, H) with ``scale``, ``bias`` float32 (H,) and ``idf`` float32 (FEATURES,) for the H heads
    of the classifier, over the words of ``lexicon``.

    ``knots`` float32 (K, 2): scores of windows in other languages, rising, and those of English windows that are as
    rare among ordinary text; empty where too few ordinary texts in other languages were at hand.
    """

    lexicon: Lexicon
    weights: npt.NDArray[np.int8]
    scale: F32
    idf: F32
    bias: F32
    knots: F32

    def joined(self, values: Bytes, offsets: Offsets, logits: F32, first_type: int, *, threads: int = 1) -> F32:
        """``logits`` float32 (W, H) of folded windows with what the concepts say added; from head ``first_type`` on
        the heads tell attacks apart."""

        def part(first: int, last: int) -> F32:
            found = self.lexicon.read(values, offsets[first : last + 1])
            scores = score(found, self.weights, self.scale, self.idf, self.bias)
            return join(self._foreign(found), scores, logits[first:last], self.knots, first_type)

        parts = ragged.each(part, offsets, threads)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def foreign(self, values: Bytes, offsets: Offsets) -> npt.NDArray[np.bool_]:
        """Which of W folded windows are judged by what their words mean in another language than English, bool (W,)."""
        return self._foreign(self.lexicon.read(values, offsets))

    def _foreign(self, found: Found) -> npt.NDArray[np.bool_]:
        return foreign(self.lexicon, found) if len(self.knots) else np.zeros(len(found.lang), np.bool_)

    def arrays(self) -> Arrays:
        """As named arrays; `from_arrays` is the reverse."""
        out: Arrays = {"weights": self.weights, "scale": self.scale, "idf": self.idf.astype(np.float16)}
        return out | {"bias": self.bias, "knots": self.knots} | self.lexicon.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]], heads: int) -> Concepts:
        """The reverse of `arrays`, for so many ``heads``.

        Raises:
            KeyError, ValueError: an array is missing or not what it should be.
        """
        weights = np.ascontiguousarray(arrays["weights"], np.int8)
        scale, idf, bias = (np.ascontiguousarray(arrays[name], np.float32) for name in ("scale", "idf", "bias"))
        knots = np.ascontiguousarray(arrays["knots"], np.float32).reshape(-1, 2)
        shapes = weights.shape == (FEATURES, heads) and scale.shape == bias.shape == (heads,)
        shapes = shapes and idf.shape == (FEATURES,) and len(knots) != 1
        finite = all(np.isfinite(array).all() for array in (scale, idf, bias, knots))
        if not (shapes and finite and (np.diff(knots, axis=0) > 0).all()):
            raise ValueError("the heads over concepts hold a value that cannot be")
        return cls(Lexicon.from_arrays(arrays), weights, scale, idf, bias, knots)


def foreign(lexicon: Lexicon, found: Found) -> npt.NDArray[np.bool_]:
    """Which of W windows are in another language than English and say something in it, bool (W,)."""
    main = lexicon.languages.index(MAIN)
    out: npt.NDArray[np.bool_] = _others(found.lang, found.offsets, main)
    return out


def score(found: Found, weights: npt.NDArray[np.int8] | F32, scale: F32, idf: F32, bias: F32) -> F32:
    """Scores of each of W windows in each head, float32 (W, H); SILENT where a window says nothing."""
    indptr, indices, counts = pairs.features(found.concept, found.offsets, REACH)
    out: F32 = kernels.linear(indptr, indices, counts, weights, scale, idf, bias)
    _silence(out, found.offsets)
    return out


def join(foreign: npt.NDArray[np.bool_], scores: F32, logits: F32, knots: F32, first_type: int) -> F32:
    """``logits`` of the n-grams with the ``scores`` of the concepts, both float32 (W, H), as one.

    In English they are added. A ``foreign`` window, bool (W,), gets the attack score of an English one that is as rare
    (``knots``) and its type from both; what it says of the other heads stays.
    """
    out = (logits + SHARE * scores).astype(np.float32)
    rows = np.flatnonzero(foreign)
    if len(rows):
        both = raw(scores[rows], logits[rows])
        out[rows] = logits[rows]
        out[rows, 0] = mapped(both[:, 0], knots)
        out[rows, first_type:] = both[:, first_type:]
    return out


def raw(scores: F32, logits: F32) -> F32:
    """The two added for windows in other languages, before `mapped`."""
    return np.asarray(scores + FOREIGN * logits, np.float32)


def mapped(scores: F32, knots: F32) -> F32:
    """``scores`` (n,) of windows in other languages on the scale of English ones: between ``knots`` on a straight
    line, beyond the last in the direction of the last two."""
    out = np.interp(scores, knots[:, 0], knots[:, 1])
    rise = (knots[-1, 1] - knots[-2, 1]) / (knots[-1, 0] - knots[-2, 0])
    return np.asarray(out + rise * np.maximum(scores - knots[-1, 0], 0.0), np.float32)


@njit(cache=True, nogil=True)
def _others(lang, offsets, main):  # type: ignore[no-untyped-def]
    out = np.empty(len(lang), np.bool_)
    for w in range(len(lang)):
        out[w] = lang[w] >= 0 and lang[w] != main and offsets[w + 1] - offsets[w] >= FEWEST
    return out


@njit(cache=True, nogil=True)
def _silence(scores, offsets):  # type: ignore[no-untyped-def]
    for w in range(len(scores)):
        if offsets[w + 1] - offsets[w] < FEWEST:
            scores[w, :] = SILENT
