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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import kernels
from aimds.detect.patterns import alignment, bound, confirmation
from aimds.detect.patterns.alignment import Alignment, Survey
from aimds.detect.patterns.lexicon import Lexicon, Word
from aimds.detect.patterns.tables import FULL, MEMBERS, Tables, block, price, token_rows
from aimds.kernels import ragged
from aimds.kernels.placement import HOST, Place

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

MAX_REACH = 0.6
"""No pattern looks farther than this normalised distance."""


@dataclass(frozen=True, slots=True)
class Index:
    """All tables of a bank of P patterns, immutable.

    ``words``: numbers of each pattern's words. ``total`` int64 (P,): cost of a pattern of which nothing matches.
    ``keys``, ``ids``: vocabulary; ``row_of`` int32: token row of a word, -1 to skip. ``near``: per token row, which
    pattern words are near, at which cost: offsets int64, words int32, costs int32; ``post_*``: the places it makes
    cheaper, and by how much. ``place_from`` int64 (P+1,): the places of each pattern; ``place_pattern``,
    ``place_word``, ``heavy``: pattern and word of a place, and whether it is heavy; ``heavy_need`` int32 (P,): heavy
    words that a match holds.
    """

    words: tuple[Ints, ...]
    total: Offsets
    keys: npt.NDArray[np.uint64]
    ids: Ints
    row_of: Ints
    near: tuple[Offsets, Ints, Ints]
    post_offsets: Offsets
    post_place: Ints
    post_gain: Ints
    place_from: Offsets
    place_pattern: Ints
    place_word: Ints
    heavy: npt.NDArray[np.bool_]
    heavy_need: Ints
    tables: Tables

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

        place_word, place_from = ragged.joined(words)
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
        blocks = [
            block(range(first, min(first + MEMBERS, len(words))), words, weights, rows, row_weight)
            for first in range(0, len(words), MEMBERS)
        ]
        heavy = [_heavy(w) for w in weights]
        return cls(
            words,
            total,
            keys,
            ids,
            row_of,
            _near(rows),
            np.cumsum([0, *map(len, posts)]).astype(np.int64),
            np.array([at for post in posts for at, _ in post], np.int32),
            np.array([gain for post in posts for _, gain in post], np.int32),
            place_from,
            np.repeat(np.arange(len(words), dtype=np.int32), np.diff(place_from)),
            place_word,
            np.concatenate(heavy),
            np.array([math.ceil(MIN_COMMON * int(h.sum())) for h in heavy], np.int32),
            Tables.of(blocks),
        )

    def need(self, reach: F32) -> Offsets:
        """What a window must save on each pattern to come within ``reach`` float32 (P,), a normalised distance: int64
        (P,)."""
        need = self.total - np.floor(np.minimum(reach, MAX_REACH).astype(np.float64) * self.total).astype(np.int64)
        # A pattern that is off (reach 0) needs more than there is.
        return np.where(reach > 0, np.maximum(need, 1), np.iinfo(np.int64).max)

    def survey(self, values: Bytes, offsets: Offsets, need: Offsets, *, threads: int = 1) -> Survey:
        """Tokens of W windows, and on which patterns they may save what they ``need`` int64 (P,)."""
        given = values, offsets, self.keys, self.ids, 0
        words, word_offsets, starts, ends = kernels.unchecked("tokenize", *given, threads=threads)
        n = len(offsets) - 1
        tokens, origin, counts = np.empty(len(words), np.int32), np.empty(len(words), np.int64), np.zeros(n, np.int64)

        def part(first: int, last: int) -> tuple[Ints, Ints]:
            room = 64 + 8 * (last - first)
            memory = bound.MEMORY.of(len(self.post_offsets), len(self.place_word), len(need))
            while True:
                pair_windows, pair_patterns = np.empty(room, np.int32), np.empty(room, np.int32)
                found = bound.survey(
                    words, word_offsets, first, last, self.row_of, self.post_offsets, self.post_place, self.post_gain,
                    self.place_pattern, self.heavy, need, self.heavy_need, memory,
                    tokens, origin, counts, pair_windows, pair_patterns,
                )  # fmt: skip
                if found <= room:
                    return pair_windows[:found], pair_patterns[:found]
                room = found

        parts = ragged.each(part, word_offsets, threads) or [(np.empty(0, np.int32), np.empty(0, np.int32))]
        windows, patterns = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        tokens, offsets, starts, ends = _kept(tokens, origin, counts, word_offsets, starts, ends)
        return Survey(tokens, offsets, starts, ends, windows, patterns)

    def align(self, survey: Survey, *, threads: int = 1, place: Place = HOST) -> Iterator[Alignment]:
        """Alignments of the pairs of ``survey``, in parts."""
        if place.backend == "cpu":
            return iter((alignment.on_host(self.tables, self.total, survey, threads),))
        return alignment.on_device(self.tables, self.total, survey, place)

    def ready(self, place: Place) -> None:
        """Compile what `align` needs in ``place``: on a GPU each length of patterns has a kernel of its own."""
        if place.backend == "cpu":
            return
        of_length = {some.cost.shape[2]: number for number, some in enumerate(self.tables.blocks)}
        patterns = np.array(sorted(MEMBERS * number for number in of_length.values()), np.int32)
        # One token against the first pattern of a block of each length.
        token, windows = np.zeros(1, np.int32), np.zeros(len(patterns), np.int32)
        survey = Survey(token, np.array([0, 1], np.int64), token, token, windows, patterns)
        for _ in self.align(survey, place=place):
            pass

    def confirm(self, survey: Survey, aligned: Alignment) -> npt.NDArray[np.bool_]:
        """Whether each of the alignments is `confirmed`, bool (C,)."""
        base = survey.offsets[aligned.window]
        return self._confirmed(survey.tokens, base + aligned.start, base + aligned.end + 1, aligned.pattern)

    def confirmed(self, tokens: Ints, pattern: int) -> bool:
        """Whether the ``tokens`` of a matched stretch hold the pattern's heavy words in order, not too far apart.

        An alignment may stay on one word for several places or several words for one place; common subsequence and
        edit distance see that.
        """
        whole = np.array([0, len(tokens)], np.int64)
        return bool(self._confirmed(tokens, whole[:1], whole[1:], np.array([pattern], np.int32))[0])

    def _confirmed(self, tokens: Ints, first: Offsets, last: Offsets, patterns: Ints) -> npt.NDArray[np.bool_]:
        sure = np.empty(len(patterns), np.bool_)
        words = self.place_from, self.place_word, self.heavy
        confirmation.confirmed(tokens, first, last, patterns, self.near, words, MIN_COMMON, MAX_EDITS, sure)
        return sure


HEAVY = 0.6
"""A word of at least this weight is heavy."""
MIN_COMMON = 0.66
"""Share of the heavy words that a match must hold in order."""
MAX_EDITS = 0.6
"""Edits a match may need, as a share of the longer side."""


def _near(rows: Sequence[Mapping[int, int]]) -> tuple[Offsets, Ints, Ints]:
    # Word and cost of each token row, one row after the other.
    words, offsets = ragged.joined([np.fromiter(near.keys(), np.int32, len(near)) for near in rows])
    return offsets, words, np.fromiter(chain.from_iterable(near.values() for near in rows), np.int32, len(words))


def _heavy(weights: F32) -> npt.NDArray[np.bool_]:
    heavy = weights >= HEAVY
    return heavy if heavy.any() else np.ones(len(weights), np.bool_)


@njit(cache=True, nogil=True)
def _kept(tokens, origin, counts, word_offsets, starts, ends):  # type: ignore[no-untyped-def]
    # Tokens int32 (T,), offsets int64 (W+1,), starts and ends int32 (T,) of the words that `bound.survey` kept, the
    # first ``counts`` int64 (W,) of each window.
    offsets = np.zeros(len(counts) + 1, np.int64)
    for w in range(len(counts)):
        offsets[w + 1] = offsets[w] + counts[w]
    size = offsets[-1]
    out, out_starts, out_ends = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32)
    for w in range(len(counts)):
        for k in range(counts[w]):
            source = word_offsets[w] + k
            out[offsets[w] + k] = tokens[source]
            out_starts[offsets[w] + k] = starts[origin[source]]
            out_ends[offsets[w] + k] = ends[origin[source]]
    return out, offsets, out_starts, out_ends
