"""A map of families: near each other where their wording is alike, a circle as large as the family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

WIDTH, HEIGHT, EDGE = 1000.0, 440.0, 10.0
LEAST, MOST = 9.0, 46.0
"""Radii of the smallest and the largest circle."""
GAP = 5.0
ROUNDS = 300


class Circle(NamedTuple):
    """One family on the map, in units of WIDTH by HEIGHT."""

    x: float
    y: float
    radius: float


def layout(likeness: Sequence[Sequence[float]], rows: Sequence[int]) -> list[Circle]:
    """A circle for each of F families, none over another where they fit.

    Places are those of classical scaling of ``1 - likeness`` (F, F), then pushed apart; area goes with ``rows``.

    Source: Torgerson 1952, doi:10.1007/BF02288916.
    """
    count = len(rows)
    if not count:
        return []
    largest = max(rows)
    radius = np.array([LEAST + (MOST - LEAST) * math.sqrt(n / largest) for n in rows])
    # What there is of room is shared out where there are many.
    radius *= min(1.0, math.sqrt(0.4 * WIDTH * HEIGHT / float((math.pi * (radius + GAP) ** 2).sum())))
    at = _scaled(np.array(likeness, np.float64).reshape(count, count)) * [WIDTH * 0.42, HEIGHT * 0.4]
    at += [WIDTH / 2, HEIGHT / 2]
    for _ in range(ROUNDS):
        if not _push(at, radius):
            break
    return [
        Circle(round(float(x), 1), round(float(y), 1), round(float(r), 1)) for (x, y), r in zip(at, radius, strict=True)
    ]


def _scaled(likeness: F64) -> F64:
    """Coordinates (F, 2) in [-1, 1]."""
    count = len(likeness)
    far = (1.0 - likeness) ** 2
    np.fill_diagonal(far, 0.0)
    middle = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * middle @ far @ middle)
    out = np.zeros((count, 2))
    for axis in range(min(2, count)):
        column = vectors[:, -1 - axis] * math.sqrt(max(float(values[-1 - axis]), 0.0))
        # The sign of an eigenvector is free: its largest entry is made positive.
        largest = int(np.argmax(np.round(np.abs(column), 9)))
        out[:, axis] = -column if column[largest] < 0 else column
    span = np.abs(out).max(axis=0)
    scaled: F64 = np.round(out / np.where(span > 0, span, 1.0), 6)
    return scaled


def _push(at: F64, radius: F64) -> bool:
    """Move circles that lie over each other half of the way apart; whether there were any."""
    moved = False
    for one in range(len(at)):
        for other in range(one + 1, len(at)):
            dx, dy = at[other] - at[one]
            far, need = math.hypot(dx, dy), radius[one] + radius[other] + GAP
            if far < need - 0.05:
                moved = True
                if far < 1e-6:  # on one spot: by a fixed angle of their own
                    angle = 2.4 * other
                    dx, dy, far = math.cos(angle), math.sin(angle), 1.0
                    step = need / 2
                else:
                    step = (need - far) / 2
                at[one] -= [dx / far * step, dy / far * step]
                at[other] += [dx / far * step, dy / far * step]
        room = radius[one] + EDGE
        at[one] = [min(max(at[one][0], room), WIDTH - room), min(max(at[one][1], room), HEIGHT - room)]
    return moved
