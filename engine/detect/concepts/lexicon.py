"""The words of many languages for a fixed list of concepts, compiled for look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.concepts import lookup
from aimds.detect.concepts.lookup import BEGINS, LATER, WHOLE, Found, Table, mixed
from aimds.detect.concepts.pairs import LONE
from aimds.detect.normalize.vocabulary import FNV_BASIS, FNV_PRIME

Arrays = dict[str, npt.NDArray[np.generic]]
MAIN = "en"
"""The language that a window is of where its words are as much of this as of another."""
LEAST = 0.12
"""Share of the words of a window that must be known, for it to be of a language at all."""
_STORED = ("part_from", "parts", "pool", "clitics")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of L ``languages`` (codes) for C ``concepts`` (their English names), as a ``table`` for look-up; words of
    the concept C only tell the language."""

    languages: tuple[str, ...]
    concepts: tuple[str, ...]
    table: Table

    def read(self, values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Found:
        """The language of each of W folded windows, ``values`` uint8 (N,) and ``offsets`` int64 (W+1,), and its
        concepts."""
        main = self.languages.index(MAIN)
        return Found(*lookup.read(values, offsets, self.table, len(self.languages), main, LEAST, len(self.concepts)))

    def counts(self) -> dict[str, object]:
        """What it holds, as plain data: ``languages``, and how many ``concepts`` and ``words``."""
        return {
            "languages": list(self.languages),
            "concepts": len(self.concepts),
            "words": len(self.table.facts),
        }

    def arrays(self) -> Arrays:
        """As named arrays; `from_arrays` is the reverse."""
        names = {"languages": self.languages, "names": self.concepts}
        out: Arrays = {key: np.frombuffer("\n".join(words).encode(), np.uint8) for key, words in names.items()}
        facts = self.table.facts
        out |= {"langs": (facts & 255).astype(np.uint8), "concepts": (facts >> 8 & 255).astype(np.uint8)}
        return out | {name: getattr(self.table, name) for name in _STORED}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Lexicon:
        """The reverse of `arrays`.

        Raises:
            KeyError, ValueError: an array is missing or does not fit the others.
        """
        languages, concepts = (tuple(arrays[key].tobytes().decode().split("\n")) for key in ("languages", "names"))
        langs, concept_of, pool = (arrays[name].astype(np.uint8).ravel() for name in ("langs", "concepts", "pool"))
        part_from = arrays["part_from"].astype(np.int32).ravel()
        parts, clitics = (arrays[name].astype(np.int32).reshape(-1, 3) for name in ("parts", "clitics"))
        fits = len(langs) == len(concept_of) == len(part_from) - 1 and len(langs) > 0
        fits = fits and part_from[0] == 0 and part_from[-1] == len(parts) and bool((np.diff(part_from) > 0).all())
        for rows in (parts, clitics):
            fits = fits and bool((rows[:, :2] >= 0).all() and (rows[:, 0] < rows[:, 1]).all())
            fits = fits and bool((rows[:, 1] <= len(pool)).all())
        fits = fits and int(langs.max()) < len(languages) and int(concept_of.max()) <= len(concepts) < LONE
        fits = fits and len(languages) <= lookup.MOST_LANGUAGES
        if not fits or MAIN not in languages:
            raise ValueError("the words of the concepts do not fit together")
        keys = _keys(part_from, parts, pool)
        order = np.argsort(keys, kind="stable")
        sizes, keys = np.diff(part_from)[order], keys[order]
        sorted_from = np.concatenate([np.zeros(1, np.int32), np.cumsum(sizes)]).astype(np.int32)
        parts = parts[np.repeat(part_from[:-1][order] - sorted_from[:-1], sizes) + np.arange(len(parts))]
        facts = langs[order] | concept_of[order].astype(np.int32) << 8
        facts |= np.where(parts[sorted_from[:-1], 2] == BEGINS, lookup.IS_BEGINNING, 0).astype(np.int32)
        more = np.flatnonzero(sizes > 1)
        low, _, how = parts[sorted_from[more] + 1].T
        facts[more] |= lookup.HAS_MORE | np.where(how >= LATER, lookup.MORE_LATER, 0).astype(np.int32)
        facts[more] |= pool[low].astype(np.int32) << lookup.NEXT
        group_from = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        slots = 1 << (2 * len(group_from)).bit_length()
        table = Table(
            np.zeros(slots, np.uint64), np.full(slots, -1, np.int32), np.zeros(lookup.SIEVE >> 5, np.uint64),
            np.zeros((len(group_from), 4), np.uint64), np.append(group_from, len(keys)).astype(np.int32),
            facts, sorted_from, parts, pool, clitics,
        )  # fmt: skip
        _fill(keys[group_from], table)
        return cls(languages, concepts, table)


def compiled(
    languages: Sequence[str],
    concepts: Sequence[str],
    entries: Sequence[tuple[int, int, tuple[bytes, ...]]],
    clitics: Sequence[tuple[int, bytes]] = (),
) -> Lexicon:
    """The lexicon of ``entries``: language, concept, and folded words, which end in ``*`` where a word begins so,
    and ``*`` where some words may stand between; ``clitics``: language, and what its words may begin with besides."""
    pool = bytearray()
    parts: list[tuple[int, int, int]] = []
    part_from = [0]
    for _, _, words in entries:
        later = 0
        for word in words:
            if word == b"*":
                later = LATER
                continue
            stem, how = (word[:-1], BEGINS) if word.endswith(b"*") else (word, WHOLE)
            parts.append((len(pool), len(pool) + len(stem), how + later))
            pool += stem
            later = 0
        part_from.append(len(parts))
    fronts = []
    for lang, front in clitics:
        fronts.append((len(pool), len(pool) + len(front), lang))
        pool += front
    return Lexicon.from_arrays(
        {
            "languages": np.frombuffer("\n".join(languages).encode(), np.uint8),
            "names": np.frombuffer("\n".join(concepts).encode(), np.uint8),
            "langs": np.array([lang for lang, _, _ in entries], np.uint8),
            "concepts": np.array([concept for _, concept, _ in entries], np.uint8),
            "part_from": np.array(part_from, np.int32),
            "parts": np.array(parts, np.int32),
            "pool": np.frombuffer(bytes(pool), np.uint8),
            "clitics": np.array(fronts, np.int32),
        }
    )


@njit(cache=True, nogil=True)
def _keys(part_from, parts, pool):  # type: ignore[no-untyped-def]
    # Hash of the first stem of each entry, uint64 (E,).
    out = np.empty(len(part_from) - 1, np.uint64)
    for entry in range(len(out)):
        word = FNV_BASIS
        for k in range(parts[part_from[entry], 0], parts[part_from[entry], 1]):
            word = (word ^ np.uint64(pool[k])) * FNV_PRIME
        out[entry] = mixed(word)
    return out


@njit(cache=True, nogil=True)
def _fill(keys, table):  # type: ignore[no-untyped-def]
    # Puts each group, whose keys are ``keys``, into its slot, its languages into its masks and its stem into the sieve.
    mask = np.uint64(len(table.keys) - 1)
    for group in range(len(keys)):
        key, first = keys[group], table.group_from[group]
        slot = key & mask
        while table.heads[slot] >= 0:
            slot = (slot + lookup.ONE) & mask
        table.keys[slot], table.heads[slot] = key, group
        for entry in range(first, table.group_from[group + 1]):
            facts = table.facts[entry]
            kind = (0 if facts & lookup.IS_BEGINNING else 1) + (2 if facts & lookup.HAS_MORE else 0)
            table.spoken[group, kind] |= lookup.ONE << np.uint64(facts & 255)
        word = FNV_BASIS
        low, high = table.parts[table.part_from[first], 0], table.parts[table.part_from[first], 1]
        for k in range(low, high):
            word = (word ^ np.uint64(table.pool[k])) * FNV_PRIME
            bit = mixed(word) >> lookup.SIEVE_SHIFT
            known = lookup.GOES_ON | (lookup.ENDS if k == high - 1 else lookup.NONE)
            table.sieve[bit >> lookup.FIVE] |= known << ((bit & lookup.LOW5) << lookup.ONE)
