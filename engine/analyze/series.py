"""A session as a series: how unusual each of its turns is, on the scale of the verdicts' own p-values."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

FEATURES: Final = (
    *("peak", "mean", "last", "rise", "slope", "shift"),
    *("glr", "change", "cusum", "page_hinkley", "spread", "volatility"),
)
"""Columns of `aimds.kernels.session_series`."""
COLUMN: Final = {name: place for place, name in enumerate(FEATURES)}
INPUTS: Final = ("user", "tool", "document")
"""Channels whose turns make the series: what reaches the model, not what it says or was told to be."""
MOST: Final = 12.0
"""A turn with a p-value of 1e-12 or less counts as this much: one turn is not to drown all others."""
WINDOW: Final = 32
"""Turns of the series that a session is judged by, the last ones."""


def surprise(p_values: npt.ArrayLike) -> F64:
    """-log10 of ``p_values``, float64 of the same shape, from 0 to MOST; not a number stays so."""
    with np.errstate(divide="ignore"):
        # A p-value of 1 has the surprise 0.0; its negated logarithm is -0.0.
        return np.asarray(np.clip(-np.log10(np.asarray(p_values, np.float64)), 0.0, MOST) + 0.0, np.float64)


def prefixes(values: F64, offsets: npt.NDArray[np.int64], window: int = WINDOW) -> tuple[F64, npt.NDArray[np.int64]]:
    """What has been seen of each row at each of its values, the last ``window`` at most: N rows, ragged.

    Args:
        values: float64 (N,). offsets: int64 (B+1,), of rows that cover ``values``.

    Returns:
        values float64 (M,) and offsets int64 (N+1,): row i ends with value i.
    """
    n = len(values)
    place = np.arange(n) - np.repeat(offsets[:-1], np.diff(offsets))
    sizes = np.minimum(place + 1, window)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    source = np.arange(ends[-1]) - np.repeat(ends[1:] - np.arange(1, n + 1), sizes)
    return values[source], ends
