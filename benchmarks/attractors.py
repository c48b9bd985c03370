"""`attractor` beside nolds (Rosenstein), antropy (entropies), PyRQA (recurrence) and whole distance matrices in numpy.

Ours is asked for the part of the features that the peer gives.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.analyze.dynamics import COLUMN
from aimds.kernels import ragged
from benchmarks.harness import Case, available, main

F64 = npt.NDArray[np.float64]

DIM, SEPARATION, HORIZON, RADIUS = 3, 5, 10, 20
ENTROPIES = ("permutation_entropy", "sample_entropy")
LINES = (
    *("recurrence_rate", "determinism", "mean_line", "longest_line"),
    *("line_entropy", "laminarity", "trapping_time"),
)


def material(rows: int, size: int, seed: int = 0) -> list[F64]:
    """Half of the rows chaotic (logistic map with noise), half noise with memory."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(rows):
        row, x = np.empty(size), rng.uniform(0.1, 0.9)
        for i in range(size):
            x = 3.9 * x * (1 - x) if k % 2 == 0 else 0.7 * x + rng.normal()
            row[i] = x
        out.append(row + 0.01 * rng.normal(size=size))
    return out


def case(
    name: str, rows: list[F64], columns: tuple[str, ...], peer: Any, peer_name: str, floor: float, **given: int
) -> Case:
    """Ours over all ``rows`` in one call, ``peer`` over each; the ``columns`` must agree to one in a thousand."""
    values, offsets = ragged.joined(rows)
    chosen = [COLUMN[column] for column in columns]

    def ours() -> Any:
        return kernels.attractor(values, offsets, angles=0, radius=RADIUS, **given)[:, chosen]

    def theirs() -> Any:
        return np.array([peer(row) for row in rows], np.float64).reshape(len(rows), -1)

    def same(a: Any, b: Any) -> bool:
        # Where there is nothing to measure, one says nan, one infinity, one zero.
        known = np.isfinite(a) & np.isfinite(b)
        return bool(known.any()) and bool(np.allclose(a[known], b[known], rtol=1e-3, atol=1e-3))

    return Case(name, "value", len(values), ours, theirs, peer_name, same, floor)


def lyapunov(smoke: bool) -> Iterator[Case]:
    nolds = available("nolds")
    if nolds is None:
        return
    # The second shape of each size is that of its defaults.
    shapes = ((DIM, HORIZON), (10, 20))
    for size, (dim, horizon) in itertools.product((300,) if smoke else (300, 1000), shapes):

        def peer(row: F64, dim: int = dim, horizon: int = horizon) -> Any:
            options = {"emb_dim": dim, "lag": 1, "min_tsep": SEPARATION, "trajectory_len": horizon}
            return nolds.lyap_r(row, fit="poly", **options)

        given = {"dim": dim, "separation": SEPARATION, "horizon": horizon, "parts": 1}
        name = f"attractor_lyapunov_{size}_{dim}"
        yield case(name, material(4, size), ("lyapunov",), peer, "nolds lyap_r", 20.0, **given)


def entropy(smoke: bool) -> Iterator[Case]:
    antropy = available("antropy")
    if antropy is None:
        return
    for size in (300,) if smoke else (32, 300, 1000):

        def peer(row: F64) -> Any:
            limit = RADIUS / 100 * row.std()
            order = antropy.perm_entropy(row, order=3, normalize=True)
            return order, antropy.sample_entropy(row, order=2, tolerance=limit)

        yield case(f"attractor_entropy_{size}", material(16, size), ENTROPIES, peer, "antropy", 1.0, parts=4)


def recurrence(smoke: bool) -> Iterator[Case]:
    pyrqa = available("pyrqa")
    if pyrqa is None:
        return
    from pyrqa.computation import RQAComputation
    from pyrqa.metric import MaximumMetric
    from pyrqa.neighbourhood import FixedRadius
    from pyrqa.settings import Settings
    from pyrqa.time_series import TimeSeries

    def peer(row: F64) -> Any:
        series = TimeSeries(row.tolist(), embedding_dimension=DIM, time_delay=1)
        near = FixedRadius(RADIUS / 100 * float(row.std()))
        found = RQAComputation.create(Settings(series, neighbourhood=near, similarity_measure=MaximumMetric)).run()
        points = len(row) - DIM + 1
        # Its rate counts the points of the main diagonal too.
        rate = (found.recurrence_rate * points - 1.0) / (points - 1.0)
        lines = found.determinism, found.average_diagonal_line, found.longest_diagonal_line
        return rate, *lines, found.entropy_diagonal_lines, found.laminarity, found.trapping_time

    for size in (300,) if smoke else (300, 1000):
        yield case(f"attractor_recurrence_{size}", material(4, size), LINES, peer, "PyRQA", 1.0, parts=2, dim=DIM)


def matrices(smoke: bool) -> Iterator[Case]:
    """Needs no peer: exponent and recurrence rate from whole distance matrices in numpy."""

    def peer(row: F64) -> Any:
        points = np.lib.stride_tricks.sliding_window_view(row, DIM)
        gaps = np.sqrt(((points[:, None] - points[None, :]) ** 2).sum(axis=2))
        used = len(points) - HORIZON + 1
        far = np.abs(np.subtract.outer(np.arange(used), np.arange(used))) > SEPARATION
        near = np.where(far, gaps[:used, :used], np.inf).argmin(axis=1)
        curve = [np.log(gaps[np.arange(used) + k, near + k]).mean() for k in range(HORIZON)]
        recurs = np.abs(points[:, None] - points[None, :]).max(axis=2) <= RADIUS / 100 * row.std()
        return np.polyfit(np.arange(HORIZON), curve, 1)[0], np.triu(recurs, SEPARATION + 1).sum() / (
            (len(points) - SEPARATION) * (len(points) - SEPARATION - 1) / 2
        )

    for size in (200,) if smoke else (200, 1000):
        given = {"dim": DIM, "separation": SEPARATION, "horizon": HORIZON}
        columns = ("lyapunov", "recurrence_rate")
        yield case(f"attractor_matrices_{size}", material(4, size), columns, peer, "numpy", 2.0, parts=3, **given)


CASES = {"lyapunov": lyapunov, "entropy": entropy, "recurrence": recurrence, "matrices": matrices}

if __name__ == "__main__":
    sys.exit(main(CASES))
