"""Training texts of our own: the attack patterns of the bank, alone and among ordinary text.

A pattern beside a benign text teaches that company does not make an attack harmless; two benign texts beside each other
teach that company does not make one either. All pairs stay inside one fold, so nothing held out is trained on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.detect.patterns import Bank
from aimds.detect.texts import Texts
from aimds.jobs.corpus import Corpus

OWN = "aimds "
"""Names of sources made here begin with this; they are trained on and never judged."""
SEPARATORS = (" ", "\n", ". ")
MAX_BYTES = 300


def is_own(source: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows come from here, bool (N,)."""
    return np.array([str(name).startswith(OWN) for name in source], np.bool_)


def with_own(
    corpus: Corpus, fold: npt.NDArray[np.int64], bank: Bank, rng: np.random.Generator, *, pairs: int
) -> tuple[Corpus, npt.NDArray[np.int64]]:
    """``corpus`` and ``fold`` with the texts made here added.

    Every pattern stands alone once, in no fold (-1), and ``pairs`` times beside a benign text of a fold.
    """
    rows: list[tuple[str, int, str, str, str]] = []
    folds: list[int] = []
    for pattern in bank.patterns:
        rows.append((pattern.text, 1, pattern.threat, f"{OWN}bank {pattern.lang}", pattern.threat))
        folds.append(-1)
    lengths = np.diff(corpus.texts.offsets)
    short = np.flatnonzero((corpus.label == 0) & (corpus.category == "benign") & (lengths > 0) & (lengths < MAX_BYTES))
    for number in np.unique(fold) if len(short) else ():
        mine = short[fold[short] == number]
        if not len(mine):
            continue
        _, inverse, counts = np.unique(corpus.source[mine].astype(str), return_inverse=True, return_counts=True)
        weight = 1.0 / np.sqrt(counts[inverse])
        chosen = rng.permutation(len(bank.patterns))[: len(bank.patterns) * pairs // len(np.unique(fold))]
        for index in chosen:
            pattern = bank.patterns[index]
            beside, one, other = (
                corpus.texts.raw(int(row)).decode("utf-8", "replace")
                for row in rng.choice(mine, 3, p=weight / weight.sum())
            )
            separator = SEPARATORS[rng.integers(len(SEPARATORS))]
            parts = (beside, pattern.text) if rng.random() < 0.6 else (pattern.text, beside)
            rows.append((separator.join(parts), 1, pattern.threat, f"{OWN}pairs", pattern.threat))
            rows.append((separator.join((one, other)), 0, "benign", f"{OWN}benign pairs", "none"))
            folds += [int(number)] * 2
    text, label, category, source, threat = zip(*rows, strict=True)
    own = Corpus(
        corpus.name,
        Texts.from_arrow(pa.array(text, pa.large_string())),
        np.array(label, np.int8),
        np.array(category, object),
        np.array(source, object),
        np.array(threat, object),
        np.zeros(len(rows), np.int8),
        dict.fromkeys(source, "Apache-2.0 (this project)"),
    )
    return corpus.join(own), np.concatenate([fold, np.array(folds, np.int64)])
