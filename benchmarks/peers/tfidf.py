"""TF-IDF and logistic regression, the baseline that most published detectors are compared with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

VERSION = f"TF-IDF (words, 1–2) and logistic regression, scikit-learn {sklearn.__version__}"


def train(texts: Sequence[str], attack: npt.NDArray[np.bool_]) -> Any:
    """A pipeline fitted on ``texts`` and whether each is an ``attack`` bool (N,)."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=300_000, sublinear_tf=True, dtype=np.float32)
    model = make_pipeline(words, LogisticRegression(C=10.0, solver="liblinear", class_weight="balanced"))
    return model.fit(texts, attack)


def judge(model: Any, texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], float]:
    """Decision values float64 (N,), above 0 an attack, and the seconds it took."""
    started = time.perf_counter()
    scores = np.asarray(model.decision_function(texts), np.float64) if len(texts) else np.zeros(0)
    return scores, time.perf_counter() - started
