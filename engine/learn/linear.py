"""L2-regularised linear heads with squared hinge loss, all heads in one pass, by dual coordinate descent.

Source: Hsieh, Chang, Lin, Keerthi, Sundararajan, "A dual coordinate descent method for large-scale linear SVM",
ICML 2008 (doi:10.1145/1390156.1390208), algorithm 1 with the L2-loss dual, extended to several heads that share the
pass over the data: the weights of one feature lie next to each other, so every cache line fetched serves all heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]

FULL_EPOCH_EVERY = 4
"""Epochs in between visit only the rows that moved last time: most benign rows lie far outside the margin."""


@dataclass(frozen=True, slots=True)
class Fit:
    """``weights`` float32 (F, H), ``bias`` float32 (H,), ``epochs`` used, ``gap`` the largest gradient left."""

    weights: F32
    bias: F32
    epochs: int
    gap: float


def fit(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    data: F32,
    targets: npt.NDArray[np.int8],
    costs: F32,
    *,
    features: int,
    max_epochs: int = 40,
    tolerance: float = 0.02,
    seed: int = 0,
) -> Fit:
    """Fit H heads on B rows given as CSR.

    Args:
        indptr, indices, data: CSR of B rows; feature ids below ``features``.
        targets: int8 (B, H), +1 or -1.
        costs: float32 (B, H), the penalty C of each row in each head; 0 leaves the row out of that head.
        tolerance: stop when no projected gradient of an epoch exceeds it.
        seed: order of the rows; the same seed gives the same weights.
    """
    rows, heads = targets.shape
    weights = np.zeros((features, heads), np.float32)
    bias = np.zeros(heads, np.float32)
    alpha = np.zeros((rows, heads), np.float32)
    squared = _squared_norms(indptr, data) + 1.0
    active = np.flatnonzero(costs.max(axis=1) > 0).astype(np.int64)
    inverse = np.where(costs > 0, 0.5 / np.maximum(costs, 1e-12), -1.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    moved = np.ones(rows, np.bool_)
    gap, epoch = np.inf, 0
    while epoch < max_epochs:
        whole = epoch % FULL_EPOCH_EVERY == 0 or epoch == max_epochs - 1
        order = rng.permutation(active if whole else active[moved[active]])
        gap = _epoch(indptr, indices, data, targets, inverse, squared, order, alpha, weights, bias, moved)
        epoch += 1
        if whole and gap <= tolerance:
            break
    return Fit(weights, bias, epoch, float(gap))


@njit(cache=True, nogil=True)
def _squared_norms(indptr, data):  # type: ignore[no-untyped-def]
    out = np.empty(len(indptr) - 1, np.float32)
    for i in range(len(out)):
        total = np.float32(0.0)
        for k in range(indptr[i], indptr[i + 1]):
            total += data[k] * data[k]
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def _epoch(indptr, indices, data, targets, inverse, squared, order, alpha, weights, bias, moved):  # type: ignore[no-untyped-def]
    heads = targets.shape[1]
    dots = np.empty(heads, np.float32)
    step = np.empty(heads, np.float32)
    worst = np.float32(0.0)
    for i in order:
        for h in range(heads):
            dots[h] = bias[h]
        for k in range(indptr[i], indptr[i + 1]):
            value = data[k]
            row = weights[indices[k]]
            for h in range(heads):
                dots[h] += value * row[h]
        stepped = False
        outside = True
        for h in range(heads):
            step[h] = np.float32(0.0)
            diagonal = inverse[i, h]
            if diagonal < 0:
                continue
            y = np.float32(targets[i, h])
            a = alpha[i, h]
            gradient = y * dots[h] - np.float32(1.0) + diagonal * a
            projected = min(gradient, np.float32(0.0)) if a == 0 else gradient
            if projected != 0:
                outside = False
            if abs(projected) > worst:
                worst = abs(projected)
            if abs(projected) > 1e-6:
                new = max(a - gradient / (squared[i] + diagonal), np.float32(0.0))
                step[h] = (new - a) * y
                alpha[i, h] = new
                stepped = True
        moved[i] = not outside
        if stepped:
            for h in range(heads):
                bias[h] += step[h]
            for k in range(indptr[i], indptr[i + 1]):
                value = data[k]
                row = weights[indices[k]]
                for h in range(heads):
                    row[h] += value * step[h]
    return worst
