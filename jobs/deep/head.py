"""The head that an encoder is shipped with: logistic regression over the mean states of its last layers.

The head that an encoder is fine-tuned with sees every window alike, most of them made here. That which ships is fitted
again when all else is done: stated parts of what counts are stretches of documents and tasks of our own, and of the
rest half are those windows, half is public text as it comes, each source as much as any other. It sees several layers:
the lower ones keep more of what the encoder knew before (Kumar et al. 2022, arXiv 2202.10054). The body stays as it is.
Figures: docs/design/0014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

TURNS = 200
"""The fit stops here at the latest."""
CLASS_SHARES = (0.45, 0.5, 0.05)
"""What benign windows, attacks and harmful requests count together."""
BY_SOURCE = 0.5
"""What the windows that count for a public source are of a class, beside those that count by themselves."""
ALONE, DOCUMENT, TASK = -1, -2, -3
"""In place of a public source: a window that counts by itself, one of a document or of a task of our own."""
PARTS = {DOCUMENT: (0.2, 0.1, 0.0), TASK: (0.1, 0.0, 0.0)}
"""What the windows of such texts of our own are of each class that has some, beside all others."""


def counts(label: npt.NDArray[np.int64], source: npt.NDArray[np.int32]) -> F64:
    """What each of R windows counts, float64 (R,), sum 1: CLASS_SHARES, and of a class its PARTS, the windows of one
    alike, of the rest BY_SOURCE by public source, each as much as any other, and those that are left alike.

    Args:
        label: int64 (R,). source: int32 (R,), ALONE, one of PARTS or the number of a public source.
    """
    out = np.zeros(len(label))
    for kind, share in enumerate(CLASS_SHARES):
        mine = label == kind
        public, alone = np.flatnonzero(mine & (source >= 0)), np.flatnonzero(mine & (source == ALONE))
        rest = 1.0
        for mark, shares in PARTS.items():
            part = mine & (source == mark)
            if part.any():
                out[part] = shares[kind] / part.sum()
                rest -= shares[kind]
        by_source = BY_SOURCE if len(public) and len(alone) else float(len(public) > 0)
        if len(public):
            each = 1.0 / np.bincount(source[public])[source[public]]
            out[public] = by_source * rest * each / each.sum()
        out[alone] = (1.0 - by_source) * rest / max(len(alone), 1)
        # Where a class is nothing but such parts they are all of it.
        out[mine] *= share / max(out[mine].sum(), 1e-12)
    total: F64 = out / out.sum()
    return total


def fit(
    states: npt.NDArray[np.floating], label: npt.NDArray[np.int64], count: F64, classes: int, penalty: float
) -> dict[str, F32]:
    """Weights ``head.weight`` float32 (D, classes) and ``head.bias`` float32 (classes,), by which logits are
    ``states @ weight + bias``.

    Args:
        states: (R, D) of R windows, in any float format. label: int64 (R,), the class of each.
        count: float64 (R,), sum 1, what each counts.
        penalty: what half the square of a weight costs beside the mean loss, states having mean 0 and variance 1.
    """
    mean = np.einsum("r,rd->d", count, states, dtype=np.float64)
    spread = np.sqrt(np.maximum(np.einsum("r,rd,rd->d", count, states, states, dtype=np.float64) - mean**2, 1e-12))
    x = ((states - mean.astype(np.float32)) / spread.astype(np.float32)).astype(np.float32)
    rows, width = x.shape
    wanted = np.arange(rows), label
    free = width * classes

    def loss(theta: F64) -> tuple[float, F64]:
        weight, bias = theta[:free].reshape(width, classes), theta[free:]
        logits = (x @ weight.astype(np.float32)).astype(np.float64) + bias
        logits -= logits.max(axis=1, keepdims=True)
        share = np.exp(logits)
        total = share.sum(axis=1)
        value = float(count @ (np.log(total) - logits[wanted])) + 0.5 * penalty * float(np.sum(weight * weight))
        share /= total[:, None]
        share[wanted] -= 1.0
        share *= count[:, None]
        slope = (x.T @ share.astype(np.float32)).astype(np.float64) + penalty * weight
        return value, np.concatenate([slope.ravel(), share.sum(axis=0)])

    found = minimize(loss, np.zeros(free + classes), jac=True, method="L-BFGS-B", options={"maxiter": TURNS}).x
    weight = found[:free].reshape(width, classes) / spread[:, None]
    return {
        "head.weight": weight.astype(np.float32),
        "head.bias": (found[free:] - mean @ weight).astype(np.float32),
    }
