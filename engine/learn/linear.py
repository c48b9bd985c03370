"""L2-regularised linear heads with squared hinge loss, four heads in one pass, by dual coordinate descent.

Source: Hsieh, Chang, Lin, Keerthi, Sundararajan, "A dual coordinate descent method for large-scale linear SVM",
ICML 2008 (doi:10.1145/1390156.1390208), algorithm 1 with the L2-loss dual, extended to several heads that share the
pass over the data: the weights of one feature lie next to each other, so every cache line fetched serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]

WIDTH = 4
"""Heads that share a pass over the data."""
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
    heads = targets.shape[1]
    squared = _squared_norms(indptr, data) + 1.0
    parts = []
    for first in range(0, heads, WIDTH):
        group = slice(first, min(first + WIDTH, heads))
        csr = (indptr, indices, data)
        parts.append(_group(csr, squared, targets[:, group], costs[:, group], features, max_epochs, tolerance, seed))
    return Fit(
        np.concatenate([part.weights for part in parts], axis=1),
        np.concatenate([part.bias for part in parts]),
        max(part.epochs for part in parts),
        max(part.gap for part in parts),
    )


def _group(
    csr: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], F32],
    squared: F32,
    targets: npt.NDArray[np.int8],
    costs: F32,
    features: int,
    max_epochs: int,
    tolerance: float,
    seed: int,
) -> Fit:
    rows, heads = targets.shape
    missing = ((0, 0), (0, WIDTH - heads))
    targets = np.pad(targets, missing, constant_values=-1)
    costs = np.pad(costs, missing)
    weights = np.zeros((features, WIDTH), np.float32)
    bias = np.zeros(WIDTH, np.float32)
    alpha = np.zeros((rows, WIDTH), np.float32)
    active = np.flatnonzero(costs.max(axis=1) > 0).astype(np.int64)
    inverse = np.where(costs > 0, 0.5 / np.maximum(costs, 1e-12), -1.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    moved = np.ones(rows, np.bool_)
    gap, epoch = np.inf, 0
    while epoch < max_epochs:
        whole = epoch % FULL_EPOCH_EVERY == 0 or epoch == max_epochs - 1
        order = rng.permutation(active if whole else active[moved[active]])
        gap = _epoch(*csr, targets, inverse, squared, order, alpha, weights, bias, moved)
        epoch += 1
        if whole and gap <= tolerance:
            break
    return Fit(weights[:, :heads], bias[:heads], epoch, float(gap))


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
    # The WIDTH heads of a group are written out: their sums stay in registers, their weights are one 16-byte load.
    step = np.zeros(WIDTH, np.float32)
    dots = np.zeros(WIDTH, np.float32)
    worst = np.float32(0.0)
    for i in order:
        d0, d1, d2, d3 = bias[0], bias[1], bias[2], bias[3]
        for k in range(indptr[i], indptr[i + 1]):
            value, at = data[k], indices[k]
            d0 += value * weights[at, 0]
            d1 += value * weights[at, 1]
            d2 += value * weights[at, 2]
            d3 += value * weights[at, 3]
        dots[0], dots[1], dots[2], dots[3] = d0, d1, d2, d3
        stepped = False
        outside = True
        for h in range(WIDTH):
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
            s0, s1, s2, s3 = step[0], step[1], step[2], step[3]
            bias[0] += s0
            bias[1] += s1
            bias[2] += s2
            bias[3] += s3
            for k in range(indptr[i], indptr[i + 1]):
                value, at = data[k], indices[k]
                weights[at, 0] += value * s0
                weights[at, 1] += value * s1
                weights[at, 2] += value * s2
                weights[at, 3] += value * s3
    return worst
