"""Texts as unit vectors of their hashed n-grams: alike texts lie near each other, without a model to run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import kernels
from aimds.detect.classifier import Classifier
from aimds.detect.normalize import normalize
from aimds.detect.texts import Texts

F32 = npt.NDArray[np.float32]

DIM = 512


@dataclass(frozen=True, slots=True)
class Embedding:
    """Folds texts and counts their n-grams by ``idf`` float32 (2 ** ``bits``,) into ``dim`` numbers."""

    idf: F32
    bits: int
    dim: int = DIM

    @classmethod
    def load(cls) -> Embedding:
        """With the weights of the shipped model."""
        model = Classifier.load()
        return cls(model.idf, model.bits)

    def __call__(self, texts: pa.Array) -> F32:
        """Unit vectors float32 (B, dim) of ``texts`` (large_string), 0 for one without a word; case, spacing and
        look-alike characters make no difference. A row's vector depends on its own text only."""
        given = Texts.from_arrow(texts)
        if not len(given):
            return np.zeros((0, self.dim), np.float32)
        views = normalize(given.values, given.offsets)
        # The first views are the texts as they are written; what was decoded comes after them.
        last = views.offsets[: len(given) + 1]
        grams = kernels.ngram_hash(views.values[: last[-1]], last, bits=self.bits)
        return kernels.sketch(*grams, self.idf, self.dim)
