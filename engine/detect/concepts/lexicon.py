"""The words of many languages for a fixed list of concepts, compiled for look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.errors import KernelError
from aimds.kernels.pairs import LONE
from aimds.kernels.placement import HOST, Place
from aimds.kernels.stems import BEGINS, LATER, MOST_LANGUAGES, WHOLE, Stems

Arrays = dict[str, npt.NDArray[np.generic]]
MAIN = "en"
"""The language that a window is of where its words are as much of this as of another."""
LEAST_PERCENT = 12
"""Of the words of a window that must be known, for it to be of a language at all."""
_STORED = ("part_from", "parts", "pool", "clitics")


class Found(NamedTuple):
    """What was found in W windows: ``lang`` int16 (W,), -1 where too few words of any are known · ``concept`` uint8
    (K,), ``start`` and ``end`` int32 (K,) bytes in the window · ``offsets`` int64 (W+1,)."""

    lang: npt.NDArray[np.int16]
    concept: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of L ``languages`` (codes) for C ``concepts`` (their English names), as ``stems`` for look-up; words of
    the concept C only tell the language."""

    languages: tuple[str, ...]
    concepts: tuple[str, ...]
    stems: Stems

    def read(
        self,
        values: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        *,
        threads: int = 1,
        place: Place = HOST,
    ) -> Found:
        """The language of each of W folded windows, ``values`` uint8 (N,) and ``offsets`` int64 (W+1,), and its
        concepts; windows and answer lie in ``place``."""
        spans = kernels.unchecked("word_spans", values, offsets, threads=threads)
        chosen = len(self.languages), self.languages.index(MAIN), LEAST_PERCENT, len(self.concepts)
        given: tuple[Any, ...] = (values, offsets, *spans, *place.resident(*self.stems), *chosen)
        return Found(*kernels.unchecked("concepts", *given, threads=threads))

    def counts(self) -> dict[str, object]:
        """What it holds, as plain data: ``languages``, and how many ``concepts`` and ``words``."""
        return {
            "languages": list(self.languages),
            "concepts": len(self.concepts),
            "words": len(self.stems.facts),
        }

    def arrays(self) -> Arrays:
        """As named arrays; `from_arrays` is the reverse."""
        names = {"languages": self.languages, "names": self.concepts}
        out: Arrays = {key: np.frombuffer("\n".join(words).encode(), np.uint8) for key, words in names.items()}
        facts = self.stems.facts
        out |= {"langs": (facts & 255).astype(np.uint8), "concepts": (facts >> 8 & 255).astype(np.uint8)}
        return out | {name: getattr(self.stems, name) for name in _STORED}

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
        fits = len(langs) > 0 and int(langs.max()) < len(languages) <= MOST_LANGUAGES and MAIN in languages
        if not fits or not int(concept_of.max(initial=0)) <= len(concepts) < LONE:
            raise ValueError("the words of the concepts do not fit together")
        try:
            return cls(languages, concepts, kernels.build_stems(langs, concept_of, part_from, parts, pool, clitics))
        except KernelError as error:
            raise ValueError(f"the words of the concepts do not fit together: {error}") from error


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
