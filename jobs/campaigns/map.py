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
ROUNDS = 120


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
    """Move circles that lie over each other apart, all at once, and back onto the map; whether there were any."""
    count = len(at)
    away = at[:, None] - at[None]
    far = np.hypot(away[..., 0], away[..., 1])
    need = radius[:, None] + radius[None] + GAP
    over = np.where(~np.eye(count, dtype=bool), np.maximum(need - far, 0.0), 0.0)
    same = far < 1e-6
    # Circles on one spot part by fixed angles, one for each pair.
    angle = 2.4 * (np.arange(count)[:, None] + np.arange(count)[None])
    side = np.sign(np.arange(count)[:, None] - np.arange(count)[None])
    apart = np.stack([np.cos(angle) * side, np.sin(angle) * side], axis=-1)
    unit = np.where(same[..., None], apart, away / np.where(same, 1.0, far)[..., None])
    at += 0.35 * (unit * over[..., None]).sum(axis=1)
    room = radius + EDGE
    at[:, 0] = np.clip(at[:, 0], room, WIDTH - room)
    at[:, 1] = np.clip(at[:, 1], room, HEIGHT - room)
    return bool((over > 0.05).any())
