"""The words of many languages as a table for `aimds.kernels.concepts`.

An entry is one word or several: its first part is a *stem*, which a word is or begins with. Entries with the same stem
are a group, found by the FNV-1a hash of the stem.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.errors import KernelError
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME, HALF, MIX

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

WHOLE, BEGINS, LATER = 0, 1, 2
"""How a part of an entry meets a word: as the whole of it, or as its beginning; with LATER added, some words on."""
IS_BEGINNING, HAS_MORE, MORE_LATER, NEXT = 1 << 16, 1 << 17, 1 << 18, 19
"""Flags of an entry: its first part is a beginning, it has further parts, the first of these comes later; from bit NEXT
on the first byte of that."""
MOST_LANGUAGES: Final = 64
"""Languages in a mask."""
SIEVE: Final = 1 << 20
SIEVE_SHIFT: Final = np.uint64(44)
GOES_ON, ENDS = np.uint64(1), np.uint64(2)
"""Bits of a place of the sieve: some stem begins so, some stem is this."""


class Stems(NamedTuple):
    """E entries in the form the look-up reads, those with the same stem one after the other, G groups in all.

    ``keys`` uint64 (S,) and ``heads`` int32 (S,): open addressing from the hash of a stem to its group, -1 for a free
    slot · ``sieve`` uint64 (SIEVE / 32,): GOES_ON and ENDS for the upper bits of each key, so that a word is left as
    soon as no stem begins like it · ``spoken`` uint64 (G, 4): the languages that have the stem as a beginning, as a
    whole word, and as either with further parts · ``group_from`` int32 (G+1,) into the entries · ``facts`` int32 (E,):
    language, concept << 8, and the flags above · ``part_from`` int32 (E+1,) into ``parts`` int32 (P, 3): bytes in
    ``pool`` uint8 (M,), and how each meets a word · ``clitics`` int32 (Q, 3): bytes in ``pool``, and the language
    whose words may begin with them.
    """

    keys: Words
    heads: Ints
    sieve: Words
    spoken: Words
    group_from: Ints
    facts: Ints
    part_from: Ints
    parts: Ints
    pool: Bytes
    clitics: Ints


def build(langs: Bytes, concepts: Bytes, part_from: Ints, parts: Ints, pool: Bytes, clitics: Ints) -> Stems:
    """The table of E entries: ``langs`` and ``concepts`` uint8 (E,), the others as in `Stems`.

    Raises:
        KernelError: they do not fit each other; the look-up itself checks no bounds.
    """
    fits = len(langs) == len(concepts) == len(part_from) - 1 and len(langs) > 0
    if not (fits and part_from[0] == 0 and part_from[-1] == len(parts) and bool((np.diff(part_from) > 0).all())):
        raise KernelError("concepts", "part_from", "does not cut the parts into one run or more for each entry")
    for name, rows in (("parts", parts), ("clitics", clitics)):
        low, high = rows[:, 0], rows[:, 1]
        if not bool((low >= 0).all() and (low < high).all() and (high <= len(pool)).all()):
            raise KernelError("concepts", name, "leaves the pool, or is empty")
    if not bool(
        (langs < MOST_LANGUAGES).all() and (clitics[:, 2] >= 0).all() and (clitics[:, 2] < MOST_LANGUAGES).all()
    ):
        raise KernelError("concepts", "langs", f"there are at most {MOST_LANGUAGES} languages")
    keys = _keys(part_from, parts, pool)
    order = np.argsort(keys, kind="stable")
    sizes, keys = np.diff(part_from)[order], keys[order]
    sorted_from = np.concatenate([np.zeros(1, np.int32), np.cumsum(sizes)]).astype(np.int32)
    parts = parts[np.repeat(part_from[:-1][order] - sorted_from[:-1], sizes) + np.arange(len(parts))]
    facts = langs[order] | concepts[order].astype(np.int32) << 8
    facts |= np.where(parts[sorted_from[:-1], 2] == BEGINS, IS_BEGINNING, 0).astype(np.int32)
    more = np.flatnonzero(sizes > 1)
    low, _, how = parts[sorted_from[more] + 1].T
    facts[more] |= HAS_MORE | np.where(how >= LATER, MORE_LATER, 0).astype(np.int32)
    facts[more] |= pool[low].astype(np.int32) << NEXT
    group_from = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    slots = 1 << (2 * len(group_from)).bit_length()
    stems = Stems(
        np.zeros(slots, np.uint64), np.full(slots, -1, np.int32), np.zeros(SIEVE >> 5, np.uint64),
        np.zeros((len(group_from), 4), np.uint64), np.append(group_from, len(keys)).astype(np.int32),
        facts, sorted_from, parts, pool, clitics,
    )  # fmt: skip
    _fill(keys[group_from], stems)
    return stems


@njit(cache=True, nogil=True)
def _mixed(word):  # type: ignore[no-untyped-def]
    word = (word ^ (word >> HALF)) * MIX
    return word ^ (word >> HALF)


@njit(cache=True, nogil=True)
def _keys(part_from, parts, pool):  # type: ignore[no-untyped-def]
    # Hash of the stem of each entry, uint64 (E,).
    out = np.empty(len(part_from) - 1, np.uint64)
    for entry in range(len(out)):
        word = FNV_BASIS
        for k in range(parts[part_from[entry], 0], parts[part_from[entry], 1]):
            word = (word ^ np.uint64(pool[k])) * FNV_PRIME
        out[entry] = _mixed(word)
    return out


@njit(cache=True, nogil=True)
def _fill(keys, stems):  # type: ignore[no-untyped-def]
    # Puts each group, whose keys are ``keys``, into its slot, its languages into its masks and its stem into the sieve.
    mask = np.uint64(len(stems.keys) - 1)
    for group in range(len(keys)):
        key, first = keys[group], stems.group_from[group]
        slot = key & mask
        while stems.heads[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        stems.keys[slot], stems.heads[slot] = key, group
        for entry in range(first, stems.group_from[group + 1]):
            facts = stems.facts[entry]
            kind = (0 if facts & IS_BEGINNING else 1) + (2 if facts & HAS_MORE else 0)
            stems.spoken[group, kind] |= np.uint64(1) << np.uint64(facts & 255)
        word = FNV_BASIS
        low, high = stems.parts[stems.part_from[first], 0], stems.parts[stems.part_from[first], 1]
        for k in range(low, high):
            word = (word ^ np.uint64(stems.pool[k])) * FNV_PRIME
            bit = _mixed(word) >> SIEVE_SHIFT
            known = GOES_ON | (ENDS if k == high - 1 else np.uint64(0))
            stems.sieve[bit >> np.uint64(5)] |= known << ((bit & np.uint64(31)) << np.uint64(1))
