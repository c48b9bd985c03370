"""How near a pattern may come before it counts: learnt from benign text, kept in ``data/bank.npz``.

The threshold of a pattern is a little below the least distance at which benign text matched it (as the matcher itself
would have confirmed it), never above a cap and never below a floor. Of texts that sound like attacks one alone may
quote one; what two of them hold is taken for ordinary. Only these numbers are kept, with the version of the bank they
belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.features import windows
from aimds.detect.mentions import unmentioned
from aimds.detect.normalize import normalize
from aimds.detect.patterns.similarity import Index
from aimds.errors import ArtefactError

F32 = npt.NDArray[np.float32]

CAP = 0.45
"""No threshold is above this normalised distance, whatever benign text says."""
SHARE = 0.95
"""A threshold is this share of the least benign distance."""
FLOOR = 0.05
"""No threshold is below this: a pattern's own words match it, even where benign text quotes them."""
BATCH = 4096


def calibrate(
    index: Index,
    benign: Sequence[str],
    *,
    alike: Sequence[str] = (),
    chosen: npt.NDArray[np.bool_] | None = None,
    cap: float = CAP,
    threads: int = 1,
) -> F32:
    """Thresholds float32 (P,) of the patterns of ``index`` from ``benign`` texts and from look-alikes of attacks,
    ``alike``, of which the second nearest counts.

    Only patterns ``chosen`` bool (P,) get one, others 0; the order of the texts does not matter.
    """
    wanted = np.ones(len(index.words), np.bool_) if chosen is None else chosen
    least = np.where(wanted, np.float32(cap / SHARE), np.float32(0))
    for first in range(0, len(benign), BATCH):
        for pattern, _, distance in _confirmed(index, benign[first : first + BATCH], least, threads):
            least[pattern] = min(least[pattern], distance)
    nearest, second = np.full_like(least, np.inf), np.full_like(least, np.inf)
    whose = np.full(len(least), -1, np.int64)
    for first in range(0, len(alike), BATCH):
        for pattern, text, distance in _confirmed(index, alike[first : first + BATCH], least, threads, asked=True):
            if whose[pattern] == first + text:
                nearest[pattern] = min(nearest[pattern], distance)
            elif distance < nearest[pattern]:
                nearest[pattern], second[pattern], whose[pattern] = distance, nearest[pattern], first + text
            else:
                second[pattern] = min(second[pattern], distance)
    least = np.minimum(least, second)
    limits = np.clip(least * np.float32(SHARE), np.float32(FLOOR), np.float32(cap))
    return np.where(wanted, limits, 0).astype(np.float32)


def _confirmed(
    index: Index, texts: Sequence[str], least: F32, threads: int, *, asked: bool = False
) -> Iterator[tuple[int, int, float]]:
    """Pattern, text and distance of every match nearer than ``least`` that the matcher would confirm; of texts that a
    user ``asked``, without the words that are only quoted."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    views = normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    pieces = windows(unmentioned(views, np.zeros(len(texts), np.int8)) if asked else views)
    survey = index.survey(pieces.values, pieces.offsets, index.need(least), threads=threads)
    for aligned in index.align(survey, threads=threads):
        # The nearest windows first: few others of a pattern are left to confirm.
        for k in np.argsort(aligned.distance, kind="stable").tolist():
            pattern, distance = int(aligned.pattern[k]), float(aligned.distance[k])
            if distance >= least[pattern]:
                continue
            window = int(aligned.window[k])
            base = int(survey.offsets[window])
            stretch = survey.tokens[base + int(aligned.start[k]) : base + int(aligned.end[k]) + 1]
            if index.confirmed(stretch, pattern):
                yield pattern, int(pieces.row[window]), distance


def pack(limits: F32, version: str) -> bytes:
    """The bytes of the artefact: thresholds float32 (P,) of the bank of that version."""
    return data.pack({"limits": limits.astype(np.float32), "version": np.frombuffer(version.encode(), np.uint8)})


def unpack(name: object, content: bytes, version: str, count: int) -> F32:
    """The thresholds in the bytes of the artefact ``name``.

    Raises:
        ArtefactError: damaged, made for another bank than ``version``, or not ``count`` thresholds in [0, 1].
    """
    arrays = data.unpack(name, content)
    if set(arrays) != {"limits", "version"}:
        raise ArtefactError(name, f"holds {', '.join(sorted(arrays))}, expected limits and version")
    made_for = arrays["version"].tobytes().decode("ascii", "replace")
    if made_for != version:
        raise ArtefactError(name, f"was calibrated for bank {made_for[:12]}, this is {version[:12]}; calibrate again")
    if arrays["limits"].shape != (count,) or arrays["limits"].dtype != np.float32:
        raise ArtefactError(name, f"expected {count} float32 thresholds")
    limits = arrays["limits"].astype(np.float32)
    if not ((limits >= 0) & (limits <= 1)).all():
        raise ArtefactError(name, f"expected {count} float32 thresholds in [0, 1]")
    return limits
