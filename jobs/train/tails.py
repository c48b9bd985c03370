"""Benign tails and the calibration of the score, from out-of-fold scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aimds.detect import tail
from aimds.detect.fusion import StageScores, joint
from aimds.detect.tail import Tail
from aimds.jobs.corpus import Corpus
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.heads import balanced

F64 = npt.NDArray[np.float64]


def fit(corpus: Corpus, public: npt.NDArray[np.bool_], stages: StageScores, config: TrainConfig) -> dict[str, Tail]:
    """The benign tail of every stage, from the rows ``public`` bool (N,) that are benign."""
    benign = (corpus.label == 0) & public
    weights = benign_weights(corpus, benign & ~stages.untrusted, config)
    untrusted = untrusted_weights(weights, benign & stages.untrusted, config)
    units = stages.units
    out = {
        name: tail.fit(scores[benign], weight[benign]).for_one(units[benign], weight[benign])
        for name, scores, weight in (
            ("attack", stages.attack, weights),
            ("attack.untrusted", stages.attack, untrusted),
            ("indirect", stages.indirect, untrusted),
            ("harmful", stages.harmful, weights),
            ("patterns", stages.margin, weights),
        )
    }
    out["rules"] = tail.counted(stages.rules.max(axis=1)[benign], weights[benign]).for_one(
        units[benign], weights[benign]
    )
    return out


def fit_joint(
    corpus: Corpus, public: npt.NDArray[np.bool_], stages: StageScores, p_value: F64, config: TrainConfig
) -> dict[str, Tail]:
    """The benign tail of the encoder together with the ``p_value`` float64 (N,) of the stages before it."""
    assert stages.deep is not None
    # The encoder judged a part of the benign rows only; a source counts as much among them as it does among all.
    seen = (corpus.label == 0) & public & np.isfinite(stages.deep)
    weights = benign_weights(corpus, seen & ~stages.untrusted, config)
    untrusted = untrusted_weights(weights, seen & stages.untrusted, config)
    sums = joint(p_value[seen], stages.deep[seen])
    return {name: tail.fit(sums, w[seen]) for name, w in (("joint", weights), ("joint.untrusted", untrusted))}


def benign_weights(corpus: Corpus, benign: npt.NDArray[np.bool_], config: TrainConfig) -> F64:
    """What each of the ``benign`` rows counts in ordinary traffic, float64 (N,), sum 1; 0 elsewhere."""
    hard = benign & (corpus.category == "benign_hard")
    weights = np.zeros(len(corpus))
    for rows, share in ((benign & ~hard, 1.0 - config.hard_share), (hard, config.hard_share)):
        side = balanced(corpus.source, rows).astype(np.float64)
        if side.sum() > 0:
            weights += side * (share / side.sum())
    return weights


def untrusted_weights(ordinary: F64, documents: npt.NDArray[np.bool_], config: TrainConfig) -> F64:
    """The same in the traffic of tools and documents, of which ``documents`` bool (N,) are at hand."""
    # Tool and document text is ordinary text as well; the few benign documents a corpus holds are a stated part of it.
    if not documents.any():
        return ordinary
    share = config.document_share
    return np.asarray(ordinary * (1.0 - share) + documents * (share / documents.sum()), np.float64)


def calibrate(
    corpus: Corpus, judged: npt.NDArray[np.bool_], p_value: F64, weights: F64, prevalence: float
) -> dict[str, float]:
    """Slope and intercept of the score at ``prevalence``, from the rows ``judged`` bool (N,)."""
    # Logistic regression of attack on -log10 p by Newton's method, classes weighted to the stated prevalence.
    attack = (corpus.label == 1) & (corpus.threat != "harmful_request") & judged
    attack_weights = balanced(corpus.source, attack).astype(np.float64)
    share = weights / weights.sum() * (1 - prevalence) + attack_weights / attack_weights.sum() * prevalence
    x = np.stack([np.minimum(-np.log10(p_value), 6.0), np.ones(len(p_value))], axis=1)
    theta = np.array([1.0, -4.0])
    for _ in range(100):
        probability = 1.0 / (1.0 + np.exp(-(x @ theta)))
        gradient = x.T @ (share * (probability - attack))
        curvature = (x * (share * probability * (1 - probability))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        theta -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return {"slope": float(max(theta[0], 0.05)), "intercept": float(theta[1]), "prevalence": prevalence}
