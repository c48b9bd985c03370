"""How near a window is to each pattern: token costs, the alignment and what confirms it.

A pattern is a row of places, one for each word of weight above 0, with a gap between each two. At a place of weight w
any word costs ``255 * w``, a near one as little as the lexicon says; in a gap a word costs ``255 * GAP`` of its own
weight, and nothing where it is near either side. So a word that is missing costs its weight, a word put in between
little. Words of weight 0 are skipped in patterns and texts. The distance of a window is its `subsequence_dtw` cost over
the sum of ``255 * w``.

`bound` spares most windows the alignment and loses nothing: an alignment visits every place, so it costs at least the
sum over places of the window's cheapest word; and a confirmed match holds most heavy words of its pattern.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect.patterns import bound
from aimds.detect.patterns.lexicon import Lexicon, Word
from aimds.detect.patterns.tables import FULL, MEMBERS, Block, block, price, token_rows
from aimds.kernels import ragged

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

MAX_REACH = 0.6
"""No pattern looks farther than this normalised distance."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What W windows hold that the bank knows. ``tokens`` int32 (T,) without words of weight 0, ``offsets`` int64
    (W+1,), ``starts`` and ``ends`` int32 (T,): bytes in the window. ``windows`` and ``patterns`` int32 (C,): the pairs
    that may match, windows ascending."""

    tokens: Ints
    offsets: Offsets
    starts: Ints
    ends: Ints
    windows: Ints
    patterns: Ints


@dataclass(frozen=True, slots=True)
class Alignment:
    """Alignments of C pairs that may match: ``window`` and ``pattern`` int32 (C,), the normalised ``distance`` float32
    (C,), and ``start`` and ``end`` int32 (C,), first and last token of the stretch, counted in the window."""

    window: Ints
    pattern: Ints
    distance: F32
    start: Ints
    end: Ints

    @classmethod
    def joined(cls, parts: Sequence[Alignment]) -> Alignment:
        """The pairs of all ``parts``, in their order."""
        none = np.empty(0, np.int32)
        return cls(
            np.concatenate([none, *(part.window for part in parts)]),
            np.concatenate([none, *(part.pattern for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.distance for part in parts)]),
            np.concatenate([none, *(part.start for part in parts)]),
            np.concatenate([none, *(part.end for part in parts)]),
        )

    def take(self, chosen: Any) -> Alignment:
        """Those of the pairs ``chosen``, an index or a mask."""
        return Alignment(
            self.window[chosen], self.pattern[chosen], self.distance[chosen], self.start[chosen], self.end[chosen]
        )


@dataclass(frozen=True, slots=True)
class Index:
    """All tables of a bank of P patterns, immutable.

    ``words``: numbers of each pattern's words; ``weights``: their weights. ``total`` int64 (P,): cost of a pattern of
    which nothing matches. ``keys``, ``ids``: vocabulary; ``row_of`` int32: token row of a word, -1 to skip. ``near``:
    per token row, which pattern words are near, at which cost; ``post_*``: the places it makes cheaper, and by how
    much. ``place_pattern``, ``heavy``: pattern of a place, and whether it is heavy; ``heavy_need`` int32 (P,): heavy
    words that a match holds.
    """

    words: tuple[Ints, ...]
    weights: tuple[F32, ...]
    total: Offsets
    keys: npt.NDArray[np.uint64]
    ids: Ints
    row_of: Ints
    near: tuple[dict[int, int], ...]
    post_offsets: Offsets
    post_place: Ints
    post_gain: Ints
    place_pattern: Ints
    heavy: npt.NDArray[np.bool_]
    heavy_need: Ints
    blocks: tuple[Block, ...]

    @classmethod
    def build(cls, patterns: Sequence[tuple[str, list[Word]]], lexicon: Lexicon, *, synonyms: bool = True) -> Index:
        """The tables for ``patterns``: (language, folded words) each, in bank order; neighbours share a block."""
        kept = [[word for word in words if lexicon.weight(word) > 0] for _, words in patterns]
        pairs = sorted({(lang, word) for (lang, _), words in zip(patterns, kept, strict=True) for word in words})
        names = sorted({word for _, word in pairs})
        number = {word: k for k, word in enumerate(names)}
        relations = lexicon.relations(pairs, synonyms=synonyms)
        skipped = {word for word, weight in lexicon.weights.items() if weight == 0}
        rows, vocabulary, row_of, row_weight = token_rows(relations, lexicon, number, skipped)

        words = tuple(np.array([number[word] for word in ws], np.int32) for ws in kept)
        weights = tuple(np.array([lexicon.weight(word) for word in ws], np.float32) for ws in kept)
        total = np.array([np.rint(FULL * w).sum() for w in weights], np.int64)
        keys, ids = kernels.build_vocabulary(vocabulary)

        place_pattern = np.repeat(np.arange(len(words), dtype=np.int32), [len(ws) for ws in words])
        places: dict[int, list[tuple[int, float]]] = {}
        place = 0
        for ws, wt in zip(words, weights, strict=True):
            for word, weight in zip(ws.tolist(), wt.tolist(), strict=True):
                places.setdefault(word, []).append((place, weight))
                place += 1
        posts: list[list[tuple[int, int]]] = []
        for near in rows:
            gains = [
                (at, price(FULL, weight) - price(cost, weight))
                for word, cost in near.items()
                for at, weight in places[word]
            ]
            posts.append(sorted((at, gain) for at, gain in gains if gain > 0))
        blocks = tuple(
            block(range(first, min(first + MEMBERS, len(words))), words, weights, rows, row_weight)
            for first in range(0, len(words), MEMBERS)
        )
        heavy = [_heavy(w) for w in weights]
        return cls(
            words,
            weights,
            total,
            keys,
            ids,
            row_of,
            tuple(rows),
            np.cumsum([0, *map(len, posts)]).astype(np.int64),
            np.array([at for post in posts for at, _ in post], np.int32),
            np.array([gain for post in posts for _, gain in post], np.int32),
            place_pattern,
            np.concatenate(heavy),
            np.array([math.ceil(MIN_COMMON * int(h.sum())) for h in heavy], np.int32),
            blocks,
        )

    def survey(self, values: Bytes, offsets: Offsets, reach: F32, *, threads: int = 1) -> Survey:
        """Tokens of W windows, and which patterns may come within ``reach`` float32 (P,), a normalised distance."""
        words, word_offsets, starts, ends = kernels.tokenize(values, offsets, self.keys, self.ids, threads=threads)
        need = self.total - np.floor(np.minimum(reach, MAX_REACH).astype(np.float64) * self.total).astype(np.int64)
        # A pattern that is off (reach 0) needs more than there is.
        need = np.where(reach > 0, np.maximum(need, 1), np.iinfo(np.int64).max)
        n = len(offsets) - 1
        tokens, origin, counts = np.empty(len(words), np.int32), np.empty(len(words), np.int64), np.zeros(n, np.int64)

        def part(first: int, last: int) -> tuple[Ints, Ints]:
            room = 64 + 8 * (last - first)
            while True:
                pair_windows, pair_patterns = np.empty(room, np.int32), np.empty(room, np.int32)
                found = bound.survey(
                    words, word_offsets, first, last, self.row_of, self.post_offsets, self.post_place, self.post_gain,
                    self.place_pattern, self.heavy, need, self.heavy_need,
                    tokens, origin, counts, pair_windows, pair_patterns,
                )  # fmt: skip
                if found <= room:
                    return pair_windows[:found], pair_patterns[:found]
                room = found

        parts = ragged.each(part, word_offsets, threads) or [(np.empty(0, np.int32), np.empty(0, np.int32))]
        token_offsets = np.zeros(n + 1, np.int64)
        np.cumsum(counts, out=token_offsets[1:])
        kept = np.repeat(word_offsets[:-1] - token_offsets[:-1], counts) + np.arange(token_offsets[-1])
        source = origin[kept]
        return Survey(
            tokens[kept],
            token_offsets,
            starts[source],
            ends[source],
            np.concatenate([windows for windows, _ in parts]),
            np.concatenate([patterns for _, patterns in parts]),
        )

    def align(self, survey: Survey, *, threads: int = 1) -> Iterator[Alignment]:
        """Alignments of the pairs of ``survey``, block by block."""
        owner = survey.patterns // MEMBERS
        for number in np.unique(owner).tolist():
            pairs = np.flatnonzero(owner == number)
            windows, row = np.unique(survey.windows[pairs], return_inverse=True)
            block = self.blocks[number]
            tokens, offsets = _pieces(survey.tokens, survey.offsets[windows], survey.offsets[windows + 1])
            patterns = survey.patterns[pairs]
            distance, start, end = kernels.subsequence_dtw_pairs(
                block.local[tokens], offsets, block.cost, block.lengths,
                row.astype(np.int32), patterns % MEMBERS, threads=threads,
            )  # fmt: skip
            near = (distance / self.total[patterns]).astype(np.float32)
            yield Alignment(survey.windows[pairs], patterns, near, start, end)

    def confirm(self, survey: Survey, aligned: Alignment) -> npt.NDArray[np.bool_]:
        """Whether each of the alignments is `confirmed`, bool (C,)."""
        sure = np.zeros(len(aligned.window), np.bool_)
        base = survey.offsets[aligned.window]
        for pattern in np.unique(aligned.pattern).tolist():
            rows = np.flatnonzero(aligned.pattern == pattern)
            first, last = base[rows] + aligned.start[rows], base[rows] + aligned.end[rows] + 1
            sure[rows] = self._confirmed(pattern, *_pieces(survey.tokens, first, last))
        return sure

    def confirmed(self, tokens: Ints, pattern: int) -> bool:
        """Whether the ``tokens`` of a matched stretch hold the pattern's heavy words in order, not too far apart.

        An alignment may stay on one word for several places or several words for one place; common subsequence and
        edit distance see that.
        """
        return bool(self._confirmed(pattern, tokens, np.array([0, len(tokens)], np.int64))[0])

    def _confirmed(self, pattern: int, tokens: Ints, offsets: Offsets) -> npt.NDArray[np.bool_]:
        words, weights = self.words[pattern], self.weights[pattern]
        place = {int(word): k for k, word in enumerate(words.tolist())}
        known, at = np.unique(tokens, return_inverse=True)
        nearest = np.full(len(known), len(self.near), np.int32)
        for k, token in enumerate(known.tolist()):
            near = [(cost, place[word], word) for word, cost in self.near[token].items() if word in place]
            if near:
                nearest[k] = min(near)[2]
        found = nearest[at]
        wanted = words[_heavy(weights)]
        common = kernels.lcs(found, offsets, wanted, np.array([0, len(wanted)], np.int64))[:, 0]
        sure: npt.NDArray[np.bool_] = common >= MIN_COMMON * len(wanted)
        rows = np.flatnonzero(sure)
        found, offsets = _pieces(found, offsets[rows], offsets[rows + 1])
        edits = kernels.levenshtein(found, offsets, words, np.array([0, len(words)], np.int64))[:, 0]
        sure[rows] = edits <= MAX_EDITS * np.maximum(np.diff(offsets), len(words))
        return sure


HEAVY = 0.6
"""A word of at least this weight is heavy."""
MIN_COMMON = 0.66
"""Share of the heavy words that a match must hold in order."""
MAX_EDITS = 0.6
"""Edits a match may need, as a share of the longer side."""


def _heavy(weights: F32) -> npt.NDArray[np.bool_]:
    heavy = weights >= HEAVY
    return heavy if heavy.any() else np.ones(len(weights), np.bool_)


def _pieces(values: Ints, first: Offsets, last: Offsets) -> tuple[Ints, Offsets]:
    """Values and offsets of the rows ``values[first[i]:last[i]]``."""
    offsets = np.zeros(len(first) + 1, np.int64)
    np.cumsum(last - first, out=offsets[1:])
    return values[np.repeat(first - offsets[:-1], last - first) + np.arange(offsets[-1])], offsets
