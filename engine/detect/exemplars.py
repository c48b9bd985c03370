"""Confirmed attacks and confirmed benign texts, and how near a window is to them: nearest neighbours that can be taught.

A text is the unit vector of the classifier's n-grams, each weighted by the square of its inverse document frequency:
what several windows share with half of all text must not make them alike. A window's score is its mean cosine to the
nearest NEIGHBOURS attacks; benign texts take away from it, those half as near a little, those as near everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect.classifier import ATTACK, Classifier
from aimds.detect.features import Windows, windows
from aimds.detect.normalize import normalize

F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

NEIGHBOURS = 3
"""Attacks that a score is the mean over: one chance likeness weighs less."""
WINDOWS = 2
"""Windows kept of a text, those with the highest attack score: the rest of a long attack is what surrounds it."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Texts of one kind. ``ids`` one a text; ``indptr`` int64 (R+1,), ``indices`` int32, ``values`` float32: unit
    vectors of R windows, ``owner`` int32 (R,) ascending: the text of each. ``terms``, ``post_offsets``, ``post_rows``,
    ``post_values``: the same by feature (`kernels.nearest`)."""

    ids: tuple[str, ...]
    indptr: Offsets
    indices: Ints
    values: F32
    owner: Ints
    terms: Ints
    post_offsets: Offsets
    post_rows: Ints
    post_values: F32

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(cls, ids: tuple[str, ...], indptr: Offsets, indices: Ints, values: F32, owner: Ints) -> Bank:
        """The bank of these vectors, with its inverted index."""
        order = np.argsort(indices, kind="stable")
        terms, first = np.unique(indices[order], return_index=True)
        row = np.repeat(np.arange(len(owner), dtype=np.int32), np.diff(indptr))
        bounds = np.append(first, len(order)).astype(np.int64)
        return cls(ids, indptr, indices, values, owner, terms.astype(np.int32), bounds, row[order], values[order])

    @classmethod
    def of(cls, texts: Sequence[str], features: Classifier, idf: F32) -> Bank:
        """The bank of ``texts``; one that comes twice, or has no word, counts once or not at all."""
        unique = {exemplar_id(text): text for text in texts}
        encoded = [text.encode("utf-8", "replace") for text in unique.values()]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        pieces = windows(normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets))
        logits = features.logits(pieces)[:, ATTACK]
        order = np.lexsort((-logits, pieces.row))
        rank = np.arange(len(order)) - np.searchsorted(pieces.row[order], pieces.row[order])
        chosen = np.sort(order[rank < WINDOWS])
        chosen = chosen[np.argsort(pieces.row[chosen], kind="stable")]
        values, bounds = _text(pieces, chosen)
        indptr, indices, counts = kernels.ngram_hash(values, bounds, bits=features.bits)
        row = np.repeat(np.arange(len(chosen)), np.diff(indptr))
        weighted = (1.0 + np.log(counts.astype(np.float64))) * idf[indices]
        norm = np.sqrt(np.bincount(row, weighted**2, len(chosen)))
        unit = (weighted / norm[row]).astype(np.float32)
        return cls._kept(tuple(unique), indptr, indices, unit, pieces.row[chosen])

    @classmethod
    def _kept(cls, ids: tuple[str, ...], indptr: Offsets, indices: Ints, values: F32, owner: Ints) -> Bank:
        # Windows without a word have no vector, and texts without such a window no place.
        sizes = np.diff(indptr)
        texts, owner = np.unique(owner[sizes > 0], return_inverse=True)
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[sizes > 0])])
        return cls.build(tuple(ids[k] for k in texts.tolist()), indptr, indices, values, owner.astype(np.int32))

    def joined(self, other: Bank) -> Bank:
        """The texts of this bank, then those of ``other`` that are new."""
        new = np.array([name not in self.ids for name in other.ids], np.bool_)
        place = len(self) + np.cumsum(new, dtype=np.int32) - 1
        rows = new[other.owner]
        inside = np.repeat(rows, np.diff(other.indptr))
        return Bank.build(
            self.ids + tuple(name for name, kept in zip(other.ids, new.tolist(), strict=True) if kept),
            np.concatenate([self.indptr, self.indptr[-1] + np.cumsum(np.diff(other.indptr)[rows])]),
            np.concatenate([self.indices, other.indices[inside]]),
            np.concatenate([self.values, other.values[inside]]),
            np.concatenate([self.owner, place[other.owner[rows]].astype(np.int32)]),
        )

    def nearest(
        self, grams: tuple[Offsets, Ints, F32], idf: F32, neighbours: int, *, threads: int = 1
    ) -> tuple[F32, Ints]:
        """Mean cosine float32 (W,) of each row of ``grams`` with the nearest texts, and the nearest int32 (W,), or -1."""
        return kernels.nearest(
            *grams, idf, self.terms, self.post_offsets, self.post_rows, self.post_values, self.owner, neighbours,
            threads=threads,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exemplars:
    """What a detector was taught; immutable. ``idf`` float32 (2 ** ``bits``,): weights of the n-grams."""

    attacks: Bank
    benign: Bank
    bits: int
    idf: F32

    def __len__(self) -> int:
        return len(self.attacks)

    @property
    def version(self) -> str:
        """Changes whenever a text is added."""
        names = ",".join(self.attacks.ids) + "|" + ",".join(self.benign.ids)
        return hashlib.sha256(names.encode()).hexdigest()[:12] if self.attacks.ids or self.benign.ids else "none"

    @classmethod
    def empty(cls) -> Exemplars:
        """Nothing taught: every score is 0."""
        nothing = _nothing()
        return cls(nothing, nothing, 0, np.zeros(0, np.float32))

    @classmethod
    def of(cls, attacks: Sequence[str], benign: Sequence[str] = (), *, features: Classifier) -> Exemplars:
        """The exemplars of these texts, in the n-grams and document frequencies of ``features``."""
        idf = (features.idf * features.idf).astype(np.float32)
        return cls(Bank.of(attacks, features, idf), Bank.of(benign, features, idf), features.bits, idf)

    def joined(self, other: Exemplars) -> Exemplars:
        """These and those of ``other``, made with the same ``features``."""
        if not (self.attacks.ids or self.benign.ids):
            return other
        return Exemplars(self.attacks.joined(other.attacks), self.benign.joined(other.benign), self.bits, self.idf)

    def score(self, pieces: Windows, *, threads: int = 1) -> tuple[F32, Ints]:
        """How much nearer W windows are to taught attacks than to taught benign texts.

        Returns:
            contrast float32 (W,) in [0, 1], and the nearest attack int32 (W,), -1 where nothing is shared. A window's
            result depends on that window only.
        """
        if not len(self):
            return np.zeros(len(pieces), np.float32), np.full(len(pieces), -1, np.int32)
        grams = kernels.ngram_hash(pieces.values, pieces.offsets, bits=self.bits, threads=threads)
        near, nearest = self.attacks.nearest(grams, self.idf, NEIGHBOURS, threads=threads)
        if len(self.benign):
            beside, _ = self.benign.nearest(grams, self.idf, 1, threads=threads)
            near = np.minimum(near, 2.0 * (near - beside))
        return np.clip(near, 0.0, 1.0).astype(np.float32), nearest


def exemplar_id(text: str) -> str:
    """Id of a taught text: a hash of its content, so that evidence can name it without quoting it."""
    return "exemplar." + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _nothing() -> Bank:
    zero = np.zeros(1, np.int64)
    ints, floats = np.zeros(0, np.int32), np.zeros(0, np.float32)
    return Bank.build((), zero, ints, floats, ints)


def _text(pieces: Windows, chosen: Offsets) -> tuple[npt.NDArray[np.uint8], Offsets]:
    bounds = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(pieces.offsets[chosen + 1] - pieces.offsets[chosen], out=bounds[1:])
    places = np.arange(bounds[-1]) + np.repeat(pieces.offsets[chosen] - bounds[:-1], np.diff(bounds))
    return pieces.values[places], bounds
