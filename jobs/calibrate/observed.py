"""What the stages of a detector say of each text, before fusion makes a verdict of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.detect.calibration import join
from aimds.detect.fusion import StageScores
from aimds.detect.stages import Detector
from aimds.detect.texts import Texts
from aimds.errors import ArtefactError, BackendError, DataError

SLICE_ROWS = 4096
SLICE_BYTES = 4 << 20


class _Observed(Detector):
    """A detector whose answer is what its stages said, and nothing is made of it."""

    __slots__ = ()

    def _collect(self, *found: Any) -> Any:
        return next(item for item in found if isinstance(item, StageScores))


def observe(
    detector: Detector,
    texts: Texts,
    channel: npt.NDArray[np.int8],
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[StageScores, npt.NDArray[np.int64]]:
    """Stage scores of N ``texts`` in ``channel`` int8 (N,), and the rows they are of, int64: all but those that break a
    stage. ``progress`` is told the rows done.

    Raises:
        DataError: no text could be judged.
    """
    fields = {field.name: getattr(detector, field.name) for field in dataclasses.fields(detector)}
    watched = _Observed(**fields)
    parts: list[StageScores] = []
    kept: list[npt.NDArray[np.int64]] = []

    def run(start: int, stop: int) -> None:
        try:
            parts.append(watched.score(texts.slice(start, stop), channel[start:stop]))  # type: ignore[arg-type]
            kept.append(np.arange(start, stop))
        except (ArtefactError, BackendError):
            raise
        except Exception:  # a text that breaks a stage must not lose its neighbours
            if stop - start > 1:
                middle = (start + stop) // 2
                run(start, middle)
                run(middle, stop)

    for start, stop in texts.slices(SLICE_ROWS, SLICE_BYTES):
        run(start, stop)
        progress(stop - start)
    if not parts:
        raise DataError("traffic", "no text of it could be judged")
    return join(parts), np.concatenate(kept)
