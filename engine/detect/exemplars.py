"""Taught attacks and taught benign texts, and how much nearer a window is to the former: nearest neighbours.

A text is the unit vector of its rare n-grams. A window's score is its mean cosine to the nearest NEIGHBOURS attacks
less its cosine to the nearest benign text, taught or of the reference. Which score is unusual depends on what was
taught, so the benign tail is fitted to the reference anew each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect import tail
from aimds.detect.classifier import Classifier
from aimds.detect.features import Windows
from aimds.detect.reference import Grams, Reference, grams, weights
from aimds.detect.tail import Tail
from aimds.errors import ConfigError
from aimds.kernels.placement import HOST, Place, joined
from aimds.kernels.room import of_ngrams

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

NEIGHBOURS = 3
"""Attacks that a score is the mean over: one chance likeness weighs less."""
WINDOWS = 2
"""Windows kept of a taught text: the rest of a long attack is what surrounds it."""
LEAST = 0.02
"""A lower mean cosine is as good as none."""
NOTHING = -1.0
"""The score of a window that is near no attack, and of every window where nothing was taught."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Texts as unit vectors of R windows: CSR ``indptr`` int64 (R+1,), ``indices`` int32, ``values`` float32; ``owner``
    int32 (R,) ascending, the text of each, and ``ids``, one a text. ``keys``, ``post_offsets``, ``post_rows``,
    ``post_values``: the same by n-gram (`kernels.build_postings`)."""

    ids: tuple[str, ...]
    indptr: Offsets
    indices: Ints
    values: F32
    owner: Ints
    keys: Ints
    post_offsets: Offsets
    post_rows: Ints
    post_values: F32

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(cls, ids: tuple[str, ...], indptr: Offsets, indices: Ints, values: F32, owner: Ints) -> Vectors:
        """These vectors with their inverted index."""
        return cls(ids, indptr, indices, values, owner, *kernels.build_postings(indptr, indices, values))

    @classmethod
    def of(cls, ids: Sequence[str], held: Grams, idf: F32) -> Vectors:
        """The vectors of the windows ``held``, whose texts are ``ids``; texts without an n-gram that counts are left
        out."""
        rows = len(held.row)
        counted = idf[held.indices] > 0
        row = np.repeat(np.arange(rows), np.diff(held.indptr))[counted]
        indices, counts = held.indices[counted], held.counts[counted]
        weighted = (1.0 + np.log(counts.astype(np.float64))) * idf[indices]
        norm = np.sqrt(np.bincount(row, weighted**2, rows))
        sizes = np.bincount(row, minlength=rows)
        texts, owner = np.unique(held.row[sizes > 0], return_inverse=True)
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[sizes > 0])])
        unit = (weighted / norm[row]).astype(np.float32)
        return cls.build(tuple(ids[k] for k in texts.tolist()), bounds, indices, unit, owner.astype(np.int32))

    @classmethod
    def empty(cls) -> Vectors:
        """No text."""
        ints, floats = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return cls.build((), np.zeros(1, np.int64), ints, floats, ints)

    def joined(self, other: Vectors) -> Vectors:
        """These texts, then those of ``other`` that are new."""
        known = set(self.ids)
        new = np.array([name not in known for name in other.ids], np.bool_)
        place = (len(self) + np.cumsum(new) - 1).astype(np.int32)
        rows = new[other.owner]
        inside = np.repeat(rows, np.diff(other.indptr))
        return Vectors.build(
            self.ids + tuple(name for name in other.ids if name not in known),
            np.concatenate([self.indptr, self.indptr[-1] + np.cumsum(np.diff(other.indptr)[rows])]),
            np.concatenate([self.indices, other.indices[inside]]),
            np.concatenate([self.values, other.values[inside]]),
            np.concatenate([self.owner, place[other.owner[rows]]]),
        )

    def nearest(
        self, features: tuple[Any, Any, Any], idf: F32, neighbours: int, *, threads: int = 1, place: Place = HOST
    ) -> tuple[Any, Any]:
        """Mean cosine float32 (W,) of each window with the nearest texts, and the nearest text int32 (W,) or -1; both
        lie where the ``features`` of `kernels.ngram_hash` lie."""
        weights, keys, offsets, rows, values, owner = place.resident(
            idf, self.keys, self.post_offsets, self.post_rows, self.post_values, self.owner
        )
        return kernels.nearest(*features, weights, keys, offsets, rows, values, owner, neighbours, threads=threads)


@dataclass(frozen=True, slots=True)
class Exemplars:
    """What a detector was taught; immutable. ``beside``: benign texts of the reference. ``idf`` float32 (F,), F = 2 **
    ``bits``: weights of the n-grams. ``tail``: benign distribution of the highest score of a text's windows that
    the `Reference` keeps, None if no attack was taught."""

    attacks: Vectors
    benign: Vectors
    beside: Vectors
    bits: int
    idf: F32
    reference: Reference | None
    tail: Tail | None

    def __len__(self) -> int:
        return len(self.attacks)

    @property
    def version(self) -> str:
        """Changes whenever a text is taught."""
        names = ",".join(self.attacks.ids) + "|" + ",".join(self.benign.ids)
        return hashlib.sha256(names.encode()).hexdigest()[:12] if len(self.attacks) or len(self.benign) else "none"

    @classmethod
    def empty(cls, reference: Reference | None = None) -> Exemplars:
        """Nothing taught: no score, and every p-value is 1. ``reference`` is kept for what will be taught."""
        nothing = Vectors.empty()
        return cls(nothing, nothing, nothing, 0, np.zeros(0, np.float32), reference, None)

    @classmethod
    def of(
        cls,
        attacks: Sequence[str],
        benign: Sequence[str] = (),
        *,
        features: Classifier,
        reference: Reference | None = None,
    ) -> Exemplars:
        """The exemplars of these texts in the n-grams of ``features``; a text that comes twice counts once.

        Args:
            reference: ordinary text to hold them against, by default the one shipped.

        Raises:
            ConfigError: ``reference`` has other n-grams than ``features``.
        """
        idf = weights(features)
        taught = (_taught(attacks, features, idf), _taught(benign, features, idf))
        return cls.holding(*taught, features=features, reference=reference)

    @classmethod
    def holding(
        cls, attacks: Vectors, benign: Vectors, *, features: Classifier, reference: Reference | None = None
    ) -> Exemplars:
        """The exemplars of these vectors, made in the n-grams of ``features``.

        Raises:
            ConfigError: ``reference``, by default the one shipped, has other n-grams than ``features``.
        """
        ordinary = reference or Reference.load()
        if ordinary.bits != features.bits:
            raise ConfigError("reference", f"2 ** {ordinary.bits} n-grams", f"2 ** {features.bits}, as the model has")
        idf = weights(features)
        beside = ordinary.grams.of_rows(0, ordinary.beside)
        vectors = Vectors.of([f"reference.{k}" for k in range(ordinary.beside)], beside, idf)
        return cls(attacks, benign, vectors, features.bits, idf, ordinary, None)._calibrated()

    def joined(self, other: Exemplars) -> Exemplars:
        """These and those of ``other``, made with the same features and reference."""
        if not len(self.attacks) and not len(self.benign):
            return other
        return Exemplars(
            self.attacks.joined(other.attacks),
            self.benign.joined(other.benign),
            self.beside,
            self.bits,
            self.idf,
            self.reference,
            None,
        )._calibrated()

    def score(self, pieces: Windows, *, threads: int = 1, place: Place = HOST) -> tuple[F32, Ints]:
        """How much nearer W windows are to taught attacks than to benign text.

        Returns:
            contrast float32 (W,) in [-1, 1], NOTHING where no attack is near, and the nearest attack int32 (W,) into
            ``attacks.ids``, -1 where nothing is shared. A window's result depends on that window only.
        """
        if not len(self):
            return np.full(len(pieces), NOTHING, np.float32), np.full(len(pieces), -1, np.int32)
        if place.backend != "cpu":
            return self._on_device(pieces, place)
        features = kernels.ngram_hash(pieces.values, pieces.offsets, bits=self.bits, threads=threads)
        return self._contrast(Grams(*features, pieces.row), threads=threads)

    def p_value(self, scores: F32) -> F64:
        """p-values against benign text, float64, of rows' highest scores over the windows `gray.windows` chooses."""
        if self.tail is None:
            return np.ones(np.shape(scores))
        return np.asarray(np.where(scores > NOTHING, self.tail.p_value(scores), 1.0), np.float64)

    def _contrast(self, held: Grams, *, threads: int = 1) -> tuple[F32, Ints]:
        near, nearest = self.attacks.nearest(held[:3], self.idf, NEIGHBOURS, threads=threads)
        # Few windows come near at all; only those are held against benign text.
        some = np.flatnonzero(near >= LEAST)
        few = held.of(some)[:3]
        benign = [bank.nearest(few, self.idf, 1, threads=threads)[0] for bank in self._benign]
        out = np.full(len(near), NOTHING, np.float32)
        out[some] = near[some] - np.maximum.reduce(benign)
        return out, nearest

    def _on_device(self, pieces: Windows, place: Place) -> tuple[F32, Ints]:
        # All windows are held against benign text: to choose those that are near, they would have to come back first.
        def part(first: int, last: int) -> tuple[npt.NDArray[Any], ...]:
            features = kernels.ngram_hash(*place.ragged(pieces.values, pieces.offsets, first, last), bits=self.bits)
            near = self.attacks.nearest(features, self.idf, NEIGHBOURS, place=place)
            benign = [bank.nearest(features, self.idf, 1, place=place)[0] for bank in self._benign]
            return place.fetch(*near, *benign)

        # A score and whose it is, from each bank.
        room = of_ngrams(self.bits, 8 * (1 + len(self._benign)))
        near, nearest, *benign = map(joined, zip(*place.each(part, pieces.offsets, *room), strict=True))
        contrast = near - np.maximum.reduce(benign)
        return np.where(near >= LEAST, contrast, np.float32(NOTHING)), nearest

    @property
    def _benign(self) -> list[Vectors]:
        return [self.beside, self.benign] if len(self.benign) else [self.beside]

    def _calibrated(self) -> Exemplars:
        if self.reference is None or not len(self):
            return self
        ordinary = self.reference.grams.of_rows(self.reference.beside, self.reference.texts)
        highest = np.full(self.reference.texts - self.reference.beside, NOTHING, np.float32)
        np.maximum.at(highest, ordinary.row, self._contrast(ordinary)[0])
        fitted = tail.fit(highest)
        return Exemplars(self.attacks, self.benign, self.beside, self.bits, self.idf, self.reference, fitted)


def exemplar_id(text: str) -> str:
    """Id of a taught text: a hash of its content, so that evidence names it without quoting it."""
    return "exemplar." + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _taught(texts: Sequence[str], features: Classifier, idf: F32) -> Vectors:
    unique = {exemplar_id(text): text for text in texts}
    return Vectors.of(list(unique), grams(list(unique.values()), features, most=WINDOWS), idf)
