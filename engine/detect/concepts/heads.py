"""The linear heads over concepts, and how their scores join those of the heads over n-grams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import kernels
from aimds.detect.concepts.lexicon import MAIN, Arrays, Lexicon
from aimds.kernels.pairs import FEATURES
from aimds.kernels.placement import HOST, Place

F32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Langs = npt.NDArray[np.int16]

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


class Said(NamedTuple):
    """What the concepts say of W windows: ``scores`` float32 (W, H), of any value where too few were found · ``lang``
    int16 (W,) and ``offsets`` int64 (W+1,) of the concepts, as of `lexicon.Found`."""

    scores: F32
    lang: Langs
    offsets: Offsets


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

    def said(self, values: Bytes, offsets: Offsets, *, threads: int = 1, place: Place = HOST) -> Said:
        """What the words of folded windows mean to the heads; windows and answer lie in ``place``."""
        found = self.lexicon.read(values, offsets, threads=threads, place=place)
        features = kernels.unchecked("concept_pairs", found.concept, found.offsets, REACH, threads=threads)
        tables = place.resident(self.weights, self.scale, self.idf, self.bias)
        scores = kernels.unchecked("linear", *features, *tables, threads=threads)
        return Said(scores, found.lang, found.offsets)

    def foreign(self, said: Said) -> npt.NDArray[np.bool_]:
        """Which of W windows are judged by what their words mean in another language than English, bool (W,)."""
        if not len(self.knots):
            return np.zeros(len(said.lang), np.bool_)
        return foreign(self.lexicon, said.lang, said.offsets)

    def joined(self, logits: F32, said: Said, foreign: npt.NDArray[np.bool_], first_type: int) -> F32:
        """``logits`` float32 (W, H) of the n-grams with what was ``said`` of the same windows, and which are
        ``foreign``, added; from head ``first_type`` on the heads tell attacks apart."""
        scores = np.empty(logits.shape, np.float32)
        _heard(said.scores, said.offsets, FEWEST, SILENT, scores)
        return join(foreign, scores, logits, self.knots, first_type)

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


def foreign(lexicon: Lexicon, lang: Langs, offsets: Offsets) -> npt.NDArray[np.bool_]:
    """Which of W windows, of the languages ``lang`` and with the ``offsets`` of their concepts, are in another language
    than English and say something in it, bool (W,)."""
    out = np.empty(len(lang), np.bool_)
    _in_another(lang, offsets, lexicon.languages.index(MAIN), FEWEST, out)
    return out


def join(foreign: npt.NDArray[np.bool_], scores: F32, logits: F32, knots: F32, first_type: int) -> F32:
    """``logits`` of the n-grams with the ``scores`` of the concepts, both float32 (W, H), as one.

    In English they are added. A ``foreign`` window, bool (W,), gets the attack score of an English one that is as rare
    (``knots``) and its type from both; what it says of the other heads stays.
    """
    out = np.empty(logits.shape, np.float32)
    if _added(scores, logits, SHARE, foreign, out):
        rows = np.flatnonzero(foreign)
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
def _heard(scores, offsets, fewest, silent, out):  # type: ignore[no-untyped-def]
    # ``scores`` into ``out``, ``silent`` for the windows with fewer concepts than ``fewest``.
    for w in range(len(scores)):
        few = offsets[w + 1] - offsets[w] < fewest
        for head in range(scores.shape[1]):
            out[w, head] = silent if few else scores[w, head]


@njit(cache=True, nogil=True)
def _in_another(lang, offsets, main, fewest, out):  # type: ignore[no-untyped-def]
    for w in range(len(lang)):
        out[w] = lang[w] >= 0 and lang[w] != main and offsets[w + 1] - offsets[w] >= fewest


@njit(cache=True, nogil=True)
def _added(scores, logits, share, foreign, out):  # type: ignore[no-untyped-def]
    # Fills ``out`` as for English windows; whether any is ``foreign``.
    some = False
    for w in range(len(scores)):
        some |= foreign[w]
        for head in range(scores.shape[1]):
            out[w, head] = logits[w, head] + share * scores[w, head]
    return some
