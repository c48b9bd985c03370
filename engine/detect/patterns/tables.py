"""Cost tables of the pattern bank: token rows, one for all words that are near the same pattern words, and blocks of
patterns, one table each, small enough to stay near the core.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.detect.patterns.lexicon import Lexicon, Relations, Word

Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

FULL = 255
GAP = 0.2
"""Cost of a word between two places, as a share of the word's weight."""
MEMBERS = 64
"""Patterns in one block of cost tables."""


@dataclass(frozen=True, slots=True)
class Block:
    """Cost table of up to MEMBERS patterns that stand together. ``local`` int32 (R,): row of the table of each token;
    ``cost`` uint8 (V, M, L), of which pattern m has the last ``lengths`` int32 (M,) columns."""

    local: Ints
    cost: Bytes
    lengths: Ints


@dataclass(frozen=True, slots=True)
class Tables:
    """All ``blocks``, K of them, whose cost tables are parts of one: ``cost`` uint8 (S,). ``local`` int32 (K, R);
    ``shapes`` int64 (K, 3): where a block's table begins, its M and its L; ``lengths`` int32 (P,)."""

    blocks: tuple[Block, ...]
    cost: Bytes
    local: Ints
    shapes: npt.NDArray[np.int64]
    lengths: Ints

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Tables:
        """The tables of at least one of ``blocks``."""
        edges = np.cumsum([0, *(some.cost.size for some in blocks)])
        cost, local = np.empty(edges[-1], np.uint8), np.stack([some.local for some in blocks])
        held = []
        for number, some in enumerate(blocks):
            part = cost[edges[number] : edges[number + 1]].reshape(some.cost.shape)
            part[:] = some.cost
            held.append(Block(local[number], part, some.lengths))
        shapes = [(start, *some.cost.shape[1:]) for start, some in zip(edges.tolist(), blocks, strict=False)]
        lengths = np.concatenate([some.lengths for some in blocks])
        return cls(tuple(held), cost, local, np.array(shapes, np.int64), lengths)


@functools.cache
def price(cost: int, weight: float) -> int:
    return round(cost * weight)


def token_rows(
    relations: Relations, lexicon: Lexicon, number: dict[Word, int], skipped: set[Word]
) -> tuple[list[dict[int, int]], list[Word], Ints, list[float]]:
    """Token rows for ``relations``, ``number`` being the numbers of the pattern words.

    Returns per row which pattern words are near at which cost; the vocabulary; the row of each of its words, -1 to
    skip, and last that of any other word; the weight of each row. The first rows are plain, one for each weight.
    """
    levels = sorted({*lexicon.weights.values(), 1.0} - {0.0})
    rows: list[dict[int, int]] = [{} for _ in levels]
    weights = list(levels)
    known: dict[tuple[float, tuple[tuple[int, int], ...]], int] = {(level, ()): k for k, level in enumerate(levels)}
    plain = {word for word, weight in lexicon.weights.items() if 0 < weight < 1}
    vocabulary = sorted(relations.keys() | skipped | plain)
    row_of = np.full(len(vocabulary) + 1, known[1.0, ()], np.int32)
    for k, word in enumerate(vocabulary):
        weight = lexicon.weight(word)
        if weight == 0:
            row_of[k] = -1
            continue
        near = {number[other]: cost for other, cost in relations.get(word, {}).items()}
        key = (weight, tuple(sorted(near.items())))
        if key not in known:
            known[key] = len(rows)
            rows.append(near)
            weights.append(weight)
        row_of[k] = known[key]
    return rows, vocabulary, row_of, weights


def block(
    members: range,
    words: tuple[Ints, ...],
    weights: tuple[F32, ...],
    rows: list[dict[int, int]],
    row_weight: list[float],
) -> Block:
    lengths = np.array([2 * len(words[p]) - 1 for p in members], np.int32)
    longest = int(lengths.max())
    places: dict[int, list[tuple[int, int, float]]] = {}
    base = np.zeros((len(members), longest), np.uint8)
    gaps = np.zeros((len(members), longest), np.bool_)
    for m, (p, length) in enumerate(zip(members, lengths.tolist(), strict=True)):
        first = longest - length
        gaps[m, first + 1 :: 2] = True
        for j, (word, weight) in enumerate(zip(words[p].tolist(), weights[p].tolist(), strict=True)):
            base[m, first + 2 * j] = price(FULL, weight)
            places.setdefault(word, []).append((m, first + 2 * j, weight))
    levels = sorted(set(row_weight))
    plain = {level: k for k, level in enumerate(levels)}
    local = np.array([plain[weight] for weight in row_weight], np.int32)
    tables = [np.where(gaps, np.uint8(np.rint(FULL * GAP * level)), base) for level in levels]
    for row, near in enumerate(rows):
        touched = [(word, cost) for word, cost in near.items() if word in places]
        if not touched:
            continue
        table = tables[plain[row_weight[row]]].copy()
        for word, cost in touched:
            for m, j, weight in places[word]:
                table[m, j] = price(cost, weight)
                for beside in (j - 1, j + 1):
                    if 0 <= beside < longest:  # a gap, or a column before the pattern's first, which is never read
                        table[m, beside] = 0
        local[row] = len(tables)
        tables.append(table)
    return Block(local, np.ascontiguousarray(np.stack(tables)), lengths)
