"""concepts on the CPU: rows shared out, and what the look-up of one thread writes to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged
from aimds.kernels.cpu import lookup
from aimds.kernels.registry import register

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]


@register("concepts", "cpu")
def concepts(
    values: Bytes,
    offsets: Offsets,
    word_offsets: Offsets,
    starts: Ints,
    ends: Ints,
    kinds: Bytes,
    keys: Words,
    heads: Ints,
    sieve: Words,
    spoken: Words,
    group_from: Ints,
    facts: Ints,
    part_from: Ints,
    parts: Ints,
    pool: Bytes,
    clitics: Ints,
    languages: int,
    main: int,
    least: int,
    bare: int,
    *,
    threads: int,
) -> tuple[npt.NDArray[np.int16], Bytes, Ints, Ints, Offsets]:
    longest = ragged.longest(offsets)
    table = keys, heads, sieve, spoken, group_from, facts, part_from, parts, pool, clitics
    given = values, offsets
    read = word_offsets, starts, ends, kinds, *table, main, least, bare
    # A character of a script without spaces has three bytes, and each beginning of a word is met once for each clitic.
    met = longest * max(lookup.LONGEST // 3 + 1, len(clitics) + 1)

    def part(first: int, last: int) -> tuple[Offsets, Any, Bytes, Ints, Ints]:
        room = (int(offsets[last] - offsets[first]) + last - first) // 2
        lang, concept = np.empty(last - first, np.int16), np.empty(room, np.uint8)
        start, end = np.empty(room, np.int32), np.empty(room, np.int32)
        concept_offsets = np.empty(last - first + 1, np.int64)
        scratch = np.empty((met, 3), np.uint64), np.empty((longest, 5), np.uint64), np.zeros(languages, np.int32)
        n = lookup.read(*given, first, last, *read, *scratch, lang, concept, start, end, concept_offsets)
        return concept_offsets, lang, concept[:n].copy(), start[:n].copy(), end[:n].copy()

    found = ragged.rejoined(ragged.each(part, offsets, threads) or [part(0, 0)])
    return *found[1:], found[0]
