"""Sessions a second on one thread, by set of features, against numpy a session at a time; a million live sessions.

python -m benchmarks.sessions
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from aimds import kernels
from aimds.analyze.rephrase import DIMS
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.slots import SlotTable
from aimds.analyze.traces import Memory
from aimds.analyze.turns import Marks, Turns
from aimds.kernels import ragged
from benchmarks.harness import Case, Maker, available, main


def series(sessions: int, turns: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return ragged.joined([rng.exponential(0.4, turns) for _ in range(sessions)])


def one(x: Any) -> list[float]:
    """The twelve numbers of one session, the way numpy does it."""
    n = len(x)
    mean, gap, turn = x.mean(), x - x.mean(), np.arange(n) - (n - 1) / 2
    square, slope = (gap**2).sum(), (gap * turn).sum() / (turn**2).sum()
    k, before = np.arange(1, n), np.cumsum(x)[:-1]
    shift = ((x.sum() - before) / (n - k) - before / k) * np.sqrt(k * (n - k) / n)
    cut = int(shift.argmax())
    best, spread = max(0.0, float(shift[cut])), np.sqrt(square / n)
    level = np.median(x[: max(3, n // 5)]) + spread / 2
    climb, drawn = (np.concatenate([[0.0], np.cumsum(y)]) for y in (x - level, x - np.cumsum(x) / np.arange(1, n + 1)))
    cusum, harm = (float((y - np.minimum.accumulate(y)).max()) for y in (climb, drawn))
    correlation = slope * np.sqrt((turn**2).sum() / square)
    return [
        *(x.max(), mean, x[-1], slope * (n - 1), correlation, best, best**2 / square, cut + 1.0 if best else 0.0),
        *(cusum, harm, spread, (np.diff(x) ** 2).sum() / square),
    ]


def features(turns: int, floor: float) -> Maker:
    """`session_series` of sessions of one length."""

    def make(smoke: bool) -> Iterator[Case]:
        count = 500 if smoke else 20_000
        values, offsets = series(count, turns)
        some = 200 if smoke else 2000
        rows = [values[a:b] for a, b in itertools.pairwise(offsets[: some + 1])]
        yield Case(
            f"session_series_{turns}",
            "session",
            count,
            lambda: kernels.session_series(values, offsets),
            lambda: np.array([one(row) for row in rows]),
            "numpy, a session at a time",
            lambda ours, theirs: np.allclose(ours[: len(theirs)], theirs, rtol=1e-9, atol=1e-9),
            floor,
            some,
        )

    return make


def change(smoke: bool) -> Iterator[Case]:
    """The change point alone, against ruptures' binary segmentation, one cut in a session."""
    ruptures = available("ruptures")
    if ruptures is None:
        return
    count, some = (500, 50) if smoke else (20_000, 500)
    rng = np.random.default_rng(1)
    rows = [np.concatenate([rng.normal(0, 0.3, 10), rng.normal(3, 0.3, 10)]) for _ in range(count)]
    values, offsets = ragged.joined(rows)
    yield Case(
        "session_change",
        "session",
        count,
        lambda: kernels.session_series(values, offsets)[:, 7],
        lambda: [ruptures.Binseg("l2", min_size=1, jump=1).fit(row).predict(1)[0] for row in rows[:some]],
        "ruptures Binseg, l2",
        lambda ours, theirs: np.array_equal(ours[: len(theirs)], theirs),
        peer_work=some,
    )


def score(smoke: bool) -> Iterator[Case]:
    """From series to session scores, all parts, against the same model one session at a time."""
    count, some = (500, 20) if smoke else (20_000, 200)
    values, offsets = series(count, 20)
    model = SessionModel.load()

    def scores(first: int, last: int) -> Any:
        nothing = np.zeros(last - first)
        made = kernels.session_series(values, offsets[first : last + 1])
        return model.float_scores(Parts(made, np.diff(offsets[first : last + 1]), nothing, nothing))

    yield Case(
        "session_score",
        "session",
        count,
        lambda: scores(0, count),
        lambda: np.concatenate([scores(k, k + 1) for k in range(some)]),
        "ours, a session at a time",
        lambda ours, theirs: np.array_equal(ours[: len(theirs)], theirs),
        peer_work=some,
    )


def live(smoke: bool) -> Iterator[Case]:
    """Turns of live sessions in random order: slots, memory, features; against one list a session."""
    sessions, steps, some = (5_000, 5_000, 2_000) if smoke else (1_000_000, 200_000, 20_000)
    table, memory = SlotTable(sessions), Memory(sessions, 32)
    rng = np.random.default_rng(2)
    everyone = np.stack([rng.integers(0, 1 << 63, sessions), np.arange(sessions)], axis=1).astype(np.uint64)
    for start in range(0, sessions, 100_000):
        table.admit(everyone[start : start + 100_000], 0.0)
    size = sum(array.nbytes for array in memory.arrays.values()) + table.keys.nbytes + table.index.nbytes
    print(f"{sessions:,} sessions take {size / 1e6:.0f} MB", file=sys.stderr)
    who = rng.integers(0, sessions, steps)
    found = rng.exponential(0.4, steps)
    marks = Marks(np.zeros((steps, DIMS), np.int8), np.zeros(steps, np.uint8))
    users, yes = np.zeros(steps, np.uint8), np.ones(steps, np.uint8)

    def ours() -> Any:
        for array in memory.arrays.values():
            array[:] = 0
        slots, _ = table.admit(everyone[who], 1.0)
        numbers = np.arange(steps)
        turns = Turns(users, found, numbers, numbers, yes, numbers.astype(np.uint32))
        seen = memory.follow(slots, turns, marks)
        return kernels.session_series(seen.values, seen.offsets)[:, 0]

    def peer() -> Any:
        kept: dict[bytes, list[float]] = {}
        out = []
        for number in range(some):
            row = kept.setdefault(everyone[who[number]].tobytes(), [])
            row.append(float(np.float32(found[number])))
            out.append(max(row[-32:]) if len(row) < 2 else one(np.array(row[-32:]))[0])
        return np.array(out)

    yield Case(
        "session_live",
        "turn",
        steps,
        ours,
        peer,
        "a list a session, numpy",
        lambda mine, theirs: np.array_equal(mine[: len(theirs)], theirs),
        peer_work=some,
    )


CASES: dict[str, Maker] = {
    "series_8": features(8, 10.0),
    "series_20": features(20, 10.0),
    "series_60": features(60, 5.0),
    "change": change,
    "score": score,
    "live": live,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
