"""Stage scores drawn from known distributions, and a model whose tails were fitted to others."""

from __future__ import annotations

import numpy as np

from aimds.detect import fusion, tail
from aimds.detect.classifier import HEADS, Classifier
from aimds.taxonomy import CODES, THREATS

F32 = np.float32


def shipped(version: str = "shipped", *, deep: bool = False) -> Classifier:
    """A model calibrated on scores that are all standard normal, ``deep`` with the tails of an encoder."""
    rng, n = np.random.default_rng(0), 20_000
    heads = ("attack", "attack.untrusted", "indirect", "harmful")
    tails = {name: tail.fit(rng.normal(size=n)) for name in heads}
    for name in ("joint", "joint.untrusted") if deep else ():
        tails[name] = tail.fit(fusion.joint(rng.random(n), rng.normal(size=n).astype(F32)))
    tails["patterns"] = tail.fit(np.where(rng.random(n) < 0.97, -1, rng.uniform(-1, 0.2, n)))
    tails["rules"] = tail.counted(((rng.random(n) < 0.001) * 0.5).astype(F32))
    return Classifier(
        bits=10,
        weights=np.zeros((1024, len(HEADS)), np.int8),
        scale=np.ones(len(HEADS), F32),
        idf=np.ones(1024, F32),
        bias=np.zeros(len(HEADS), F32),
        tails=tails,
        card={"calibration": {"slope": 1.5, "intercept": -4.0}},
        version=version,
    )


def scores(
    rng: np.random.Generator, n: int, *, shift: float = 0.7, untrusted: float = 0.3, deep: bool = False
) -> fusion.StageScores:
    """``n`` benign rows of a tenant whose heads score ``shift`` higher and with heavier tails than the model knows."""

    def heavy() -> np.ndarray:
        return (rng.standard_t(4, n) * 0.8 + shift).astype(F32)

    rules = np.zeros((n, len(THREATS)), F32)
    rules[:, CODES["data_exfiltration"]] = np.where(rng.random(n) < 0.004, rng.choice([0.3, 0.5, 0.9], n), 0)
    out = fusion.StageScores(
        attack=heavy(),
        indirect=heavy(),
        harmful=heavy(),
        type_code=np.full(n, CODES["jailbreak"], np.int8),
        margin=np.where(rng.random(n) < 0.93, -1, rng.uniform(-1, 0.5, n)).astype(F32),
        pattern_code=np.zeros(n, np.int8),
        rules=rules,
        decoded=np.zeros(n, np.bool_),
        hidden=np.zeros(n, np.bool_),
        untrusted=rng.random(n) < untrusted,
        units=np.ones(n),
    )
    if deep:
        before = fusion.fuse(shipped(), out).p_value
        out.deep = np.where(before <= 0.3, heavy(), -np.inf).astype(F32)
    return out
