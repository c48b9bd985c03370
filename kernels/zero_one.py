"""The angles of the 0-1 test for chaos, the same on every backend."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def spread(count: int) -> npt.NDArray[np.float64]:
    """``count`` angles float64 that no ratio of small numbers comes near: the golden section, from a fifth of pi to
    four fifths."""
    turns = (np.arange(1, count + 1) * ((math.sqrt(5.0) - 1.0) / 2.0)) % 1.0
    return np.asarray(math.pi * (1.0 + 3.0 * turns) / 5.0, np.float64)
