"""Memory that the kernels over text hold at once on a GPU, at most: what `placement.Place.each` cuts the rows by."""

from __future__ import annotations

from typing import Final, NamedTuple

WINDOW_BITS: Final = 18
"""log2 of the features that a block of ngram_hash keeps in shared memory; more are more items a row."""
_INT: Final = 4
_LONG: Final = 8
_FLOAT: Final = 4


class Room(NamedTuple):
    """Bytes for each value, and for each row beside its values."""

    value_bytes: int
    row_bytes: int

    def or_else(self, other: Room) -> Room:
        """Room for either, where both are not held at once."""
        return Room(*map(max, self, other))


def of_ngrams(bits: int, made: int) -> Room:
    """Room for rows of folded bytes and what `kernels.ngram_hash` takes for them; ``made``: bytes a row that are made
    while its features are held."""
    # A byte begins an n-gram of each of three lengths, and every second one a word and a pair of words.
    features = 3 + 1
    items = 1 << max(0, bits - WINDOW_BITS)
    # Feature, tally and count; offsets, and for each item its size and twice where it begins.
    return Room(1 + features * (_INT + _INT + _FLOAT), 2 * _LONG + items * (_INT + 2 * _LONG) + made)


def of_concepts(reach: int, made: int) -> Room:
    """Room for rows of folded bytes, the concepts that `kernels.concepts` finds in them, and what
    `kernels.concept_pairs` takes for these; ``made``: bytes a row that are made while its features are held.

    The words, and the wider arrays that the concepts are first written to, take less than the pairs, and are let go
    before these are counted.
    """
    # What the concept is and where it stands; the features that begin with it: two slots of a table for each, which
    # feature has the slot and how often it came, and then the feature and its count.
    each = 1 + 2 * _INT + (reach + 1) * (2 * 2 * _INT + _INT + _FLOAT)
    # A concept is at least a byte and one that parts it from the next, so a row has half as many as bytes, and one.
    # Beside them: where the row begins, where its concepts do, its language, and the size of its features and, twice,
    # where they begin.
    return Room(1 + -(-each // 2), each + 2 * _LONG + 2 + _INT + 2 * _LONG + made)
