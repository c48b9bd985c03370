"""Ordinary text as hashed n-grams and states of the encoder, without a word of it: what taught attacks are held against
and calibrated on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data, kernels
from aimds.detect.classifier import ATTACK, Classifier
from aimds.detect.deep import Deep
from aimds.detect.features import windows_of
from aimds.detect.probe import States
from aimds.errors import ArtefactError

F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

REFERENCE = "reference.npz"
FORMAT = 2
WINDOWS = 4
"""Windows kept of a text, those with the highest attack score, as `gray.windows` chooses them of what is judged."""
LEAST_IDF = 4.0
"""An n-gram that stands in more than about one text of twenty counts for nothing, and costs nothing."""


class Grams(NamedTuple):
    """Hashed n-grams of R windows: CSR ``indptr`` int64 (R+1,), ``indices`` int32, ``counts`` float32; ``row`` int32
    (R,) ascending, the text of each window."""

    indptr: Offsets
    indices: Ints
    counts: F32
    row: Ints

    def of(self, chosen: Offsets) -> Grams:
        """The windows ``chosen`` int64 (K,) ascending."""
        sizes = self.indptr[chosen + 1] - self.indptr[chosen]
        bounds = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(sizes, out=bounds[1:])
        at = np.arange(bounds[-1]) + np.repeat(self.indptr[chosen] - bounds[:-1], sizes)
        return Grams(bounds, self.indices[at], self.counts[at], self.row[chosen])

    def of_rows(self, first: int, last: int) -> Grams:
        """The windows of the texts ``first`` to ``last``, which are counted from 0 again."""
        low, high = np.searchsorted(self.row, (first, last)).tolist()
        begin, end = int(self.indptr[low]), int(self.indptr[high])
        return Grams(
            self.indptr[low : high + 1] - begin, self.indices[begin:end], self.counts[begin:end],
            self.row[low:high] - np.int32(first),
        )  # fmt: skip


def weights(features: Classifier) -> F32:
    """Weight of each n-gram, float32 (F,): its squared inverse document frequency, 0 below LEAST_IDF."""
    idf = features.idf
    return np.where(idf >= LEAST_IDF, idf * idf, 0.0).astype(np.float32)


def grams(texts: Sequence[str], features: Classifier, *, most: int) -> Grams:
    """N-grams of the ``most`` windows of each text with the highest attack score, those that count; encoded parts are
    decoded."""
    pieces = windows_of(texts)
    indptr, indices, counts = kernels.ngram_hash(pieces.values, pieces.offsets, bits=features.bits)
    logits = kernels.linear(
        indptr, indices, counts, features.weights, features.scale, features.idf, features.bias
    )[:, ATTACK]  # fmt: skip
    order = np.lexsort((-logits, pieces.row))
    rank = np.arange(len(order)) - np.searchsorted(pieces.row[order], pieces.row[order])
    chosen = order[rank < most]
    place = np.full(len(pieces), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    owner = np.repeat(place, np.diff(indptr))
    kept = (owner >= 0) & (features.idf[indices] >= LEAST_IDF)
    owner, indices, counts = owner[kept], indices[kept], counts[kept]
    order = np.argsort(owner, kind="stable")
    bounds = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(chosen)), out=bounds[1:])
    return Grams(bounds, indices[order], counts[order], pieces.row[chosen].astype(np.int32))


@dataclass(frozen=True, slots=True)
class Reference:
    """N ordinary texts: ``grams`` of their windows, 2 ** ``bits`` features, and their ``states``, of no part of a text
    where the model has no encoder. The first ``beside`` texts speak against a match, of states the first half; the
    others say how high ordinary text scores."""

    grams: Grams
    states: States
    texts: int
    beside: int
    bits: int
    version: str

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        features: Classifier,
        deep: Deep | None = None,
        *,
        beside: int = 200,
        threads: int = 1,
    ) -> Reference:
        """The reference of benign ``texts`` in random order, as many sources as there are, best such that ``deep``
        never saw.

        Raises:
            ValueError: fewer than 50 texts would be left to calibrate on.
        """
        if len(texts) - beside < 50:
            raise ValueError(f"{len(texts)} texts, at least {beside + 50} are needed")
        names = [f"reference.{k}" for k in range(len(texts))]
        seen = States.none() if deep is None else States.of(names, texts, features, deep, threads=threads)
        made = cls(grams(texts, features, most=WINDOWS), seen, len(texts), beside, features.bits, "")
        return cls.unpack(REFERENCE, made.pack())

    @classmethod
    def load(cls, path: Path | None = None) -> Reference:
        """The shipped reference, or the one in ``path``.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one the manifest names.
        """
        if path is None:
            return cls.unpack(REFERENCE, data.read_bytes(REFERENCE))
        if not path.is_file():
            raise ArtefactError(path, "no such reference file")
        return cls.unpack(path, data.read_file(path))

    def pack(self) -> bytes:
        """The bytes of an ``.npz`` file; `unpack` is the reverse."""
        steps = np.diff(self.grams.indices, prepend=np.int32(0))
        filled = np.diff(self.grams.indptr) > 0
        scale = np.maximum(np.abs(self.states.values).max(axis=(0, 1), initial=0), 1e-6).astype(np.float32) / 127
        steps[self.grams.indptr[:-1][filled]] = self.grams.indices[self.grams.indptr[:-1][filled]]
        return data.pack(
            {
                "head": np.array([FORMAT, self.bits, self.texts, self.beside], np.int32),
                "row": self.grams.row,
                "sizes": np.diff(self.grams.indptr).astype(np.uint16),
                "steps": steps.astype(np.int32),
                "counts": np.minimum(self.grams.counts, 255).astype(np.uint8),
                "states": np.rint(self.states.values / scale).astype(np.int8),
                "states.scale": scale,
                "states.owner": self.states.owner,
                "encoder": np.frombuffer(self.states.version.encode(), np.uint8),
            }
        )

    @classmethod
    def unpack(cls, name: object, content: bytes) -> Reference:
        """The reference in the bytes of an ``.npz`` file; ``name`` is for the error text.

        Raises:
            ArtefactError: damaged, or of another format.
        """
        arrays = data.unpack(name, content)
        kinds = {"head": np.int32, "row": np.int32, "sizes": np.uint16, "steps": np.int32, "counts": np.uint8} | {
            "states": np.int8, "states.scale": np.float32, "states.owner": np.int32, "encoder": np.uint8
        }  # fmt: skip
        if {key: array.dtype for key, array in arrays.items()} != {key: np.dtype(kind) for key, kind in kinds.items()}:
            raise ArtefactError(name, f"holds {', '.join(sorted(arrays))}, expected {', '.join(sorted(kinds))}")
        if any(arrays[key].ndim != 1 for key in ("head", "row", "sizes", "steps", "counts")):
            raise ArtefactError(name, "its arrays do not fit each other")
        head, row = arrays["head"].astype(np.int64).tolist(), arrays["row"].astype(np.int32)
        if len(head) != 4 or head[0] != FORMAT:
            raise ArtefactError(name, f"is of format {head[:1]}, this version reads format {FORMAT}")
        _, bits, texts, beside = head
        indptr = np.concatenate([[0], np.cumsum(arrays["sizes"].astype(np.int64))]).astype(np.int64)
        steps, counts = arrays["steps"].astype(np.int64), arrays["counts"].astype(np.float32)
        if len(indptr) != len(row) + 1 or not indptr[-1] == len(steps) == len(counts) or not 0 < beside <= texts - 50:
            raise ArtefactError(name, "its arrays do not fit each other")
        total = np.concatenate([[0], np.cumsum(steps)])
        indices = total[1:] - np.repeat(total[indptr[:-1]], np.diff(indptr))
        ascending = len(row) == 0 or (row[0] >= 0 and row[-1] < texts and bool((np.diff(row) >= 0).all()))
        if not (ascending and 10 <= bits <= 24 and ((indices >= 0) & (indices < 1 << bits)).all() and counts.all()):
            raise ArtefactError(name, "holds a value that cannot be")
        held, owner = arrays["states"].astype(np.float32), arrays["states.owner"].astype(np.int32)
        scale, encoder = (
            arrays["states.scale"].astype(np.float32),
            arrays["encoder"].tobytes().decode("ascii", "replace"),
        )
        if scale.ndim != 1 or held.shape[-1:] != scale.shape or (encoder and not scale.size):
            raise ArtefactError(name, "its states do not fit its texts")
        names = tuple(f"reference.{k}" for k in range(texts if encoder else 0))
        with np.errstate(over="ignore"):
            states = States(names, (held * scale).astype(np.float16), owner, encoder)
        if not states.is_sound():
            raise ArtefactError(name, "its states do not fit its texts")
        version = hashlib.sha256(content).hexdigest()[:12]
        return cls(Grams(indptr, indices.astype(np.int32), counts, row), states, texts, beside, bits, version)
