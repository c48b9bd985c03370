"""What is found at the same false alarms: ours and a peer on the same rows, with intervals.

A peer with scores is compared at a stated false-positive rate of the reference, a peer that only says yes or no at its
own: our threshold is then set so that no more benign rows of the reference are flagged than the peer flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.jobs.intervals import clopper_pearson

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows of one file: ``texts``, ``attack`` bool (N,), ``channel`` int8 (N,) into `aimds.schema.CHANNELS`."""

    name: str
    texts: list[str]
    attack: Flags
    channel: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one detector said of N rows: ``score`` float64 (N,), higher is worse, None where it only says yes or no;
    ``flagged`` bool (N,) at its own operating point, None where it has none."""

    score: F64 | None
    flagged: Flags | None


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: shares of ``n`` rows, the peer's of ``peer_n``, with their Clopper–Pearson intervals at 95%.
    ``same``: both judged the same rows. ``ratio`` is ours by the peer's, None where the peer's is 0."""

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float | None
    unit: str
    same: bool
    n: int
    peer_n: int
    ours_interval: tuple[float, float]
    peer_interval: tuple[float, float]

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def threshold_at(benign: F64, rate: float) -> float:
    """The lowest t such that at most ``rate`` of the ``benign`` scores are strictly above t."""
    ordered = np.sort(benign)[::-1]
    return float(ordered[min(int(np.floor(rate * len(ordered) + 1e-9)), len(ordered) - 1)])


def compare(
    files: Sequence[Labelled],
    reference: str,
    ours: dict[str, Verdict],
    peer: dict[str, Verdict],
    peer_id: str,
    peer_name: str,
    rate: float,
) -> Iterator[Row]:
    """Rows of every file, for attacks and for benign text; the reference's benign rows set the
    thresholds."""
    clean = next(~one.attack for one in files if one.name == reference)
    our_clean = _score(ours[reference])[clean]
    points: list[tuple[str, float, dict[str, Flags]]] = []
    theirs = peer[reference]
    if theirs.score is not None:
        line = threshold_at(theirs.score[clean], rate)
        above = {name: _score(verdict) > line for name, verdict in peer.items()}
        points.append((f"at {rate:.3g} of the benign rows of {reference}", threshold_at(our_clean, rate), above))
    if theirs.flagged is not None:
        hits, n = int(theirs.flagged[clean].sum()), int(clean.sum())
        where = f"at the peer's own point, {hits} of {n} benign rows of {reference}"
        flags = {name: verdict.flagged for name, verdict in peer.items() if verdict.flagged is not None}
        points.append((where, threshold_at(our_clean, hits / n), flags))
    for where, line, flagged in points:
        for one in files:
            found = _score(ours[one.name]) > line
            same = len(found) == len(flagged[one.name]) == len(one.texts)
            for what, rows in (("attacks", one.attack), ("benign rows", ~one.attack)):
                if not rows.any() or (one.name == reference and what == "benign rows"):
                    continue
                verb = "found" if what == "attacks" else "flagged"
                yield _row(
                    f"{one.name}.{peer_id}", f"share of {what} {verb} {where}", found[rows], flagged[one.name][rows],
                    peer_name, same,
                )  # fmt: skip


def _row(name: str, unit: str, ours: Flags, peer: Flags, peer_name: str, same: bool) -> Row:
    mine, its = float(ours.mean()), float(peer.mean())
    intervals = [clopper_pearson(int(hit.sum()), len(hit)) for hit in (ours, peer)]
    return Row(
        name,
        mine,
        its,
        peer_name,
        mine / its if its else None,
        unit,
        same,
        len(ours),
        len(peer),
        intervals[0],
        intervals[1],
    )


def _score(verdict: Verdict) -> F64:
    if verdict.score is None:
        raise ValueError("a detector without scores has no threshold to move")
    return verdict.score
