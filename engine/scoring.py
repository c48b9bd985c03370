"""Scores of a batch, row by row the same whatever stands around it: slices of bounded size, the cache, and what is done
about a row that breaks a stage.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aimds.detect.cache import Cache
from aimds.detect.failures import StageError, broke
from aimds.detect.stages import ERROR, STATUS, Detector, Scores
from aimds.detect.texts import Texts
from aimds.errors import ArtefactError, BackendError
from aimds.kernels.placement import Place

Channels = npt.NDArray[np.int8]

SLICE_ROWS = 4096
SLICE_BYTES = 4 << 20
ENTRY_BYTES = 1000
"""What one cached row costs beside its evidence and spans."""
ITEM_BYTES = 400


@dataclass(slots=True)
class Scoring:
    """Runs detectors. ``threads`` are for the kernels and the encoder, ``place`` is where batches are put; ``seconds``
    counts the time spent in each stage since the start."""

    threads: int
    place: Place
    seconds: dict[str, float] = field(default_factory=dict)

    def scores(self, detector: Detector, cache: Cache[Scores], texts: Texts, channels: Channels) -> Scores:
        """Scores of B ``texts`` in ``channels`` int8 (B,), those ``cache`` holds from there."""
        slices = texts.slices(SLICE_ROWS, SLICE_BYTES)
        if len(slices) == 1:
            return self._slice(detector, cache, texts, channels)
        out = Scores.empty(len(texts))
        for start, stop in slices:
            part = self._slice(detector, cache, texts.slice(start, stop), channels[start:stop])
            out.put(np.arange(start, stop), part)
        return out

    def spent(self, stage: str, started: float) -> None:
        """Book the time since ``started`` under ``stage``."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def _slice(self, detector: Detector, cache: Cache[Scores], texts: Texts, channels: Channels) -> Scores:
        if not cache.max_bytes:
            return self._compute(detector, texts, channels)
        started = time.perf_counter()
        out = Scores.empty(len(texts))
        view, bounds = texts.values.data, texts.offsets.tolist()
        keys = [cache.key(view[bounds[i] : bounds[i + 1]], int(c)) for i, c in enumerate(channels)]
        missed = []
        for row, key in enumerate(keys):
            known = cache.get(key) if texts.valid[row] else None
            if known is None:
                missed.append(row)
            else:
                out.put(np.array([row]), known)
        self.spent("cache", started)
        if not missed:
            return out
        rows = np.array(missed, np.int64)
        fresh = self._compute(detector, texts if len(rows) == len(texts) else texts.take(rows), channels[rows])
        out.put(rows, fresh)
        started = time.perf_counter()
        for k, row in enumerate(missed):
            if texts.valid[row] and fresh.numbers[k, STATUS] != ERROR and not broke(fresh.errors.get(k)):
                kept = fresh.row(k)
                items = len(kept.evidence.get(0, ())) + len(kept.spans.get(0, ()))
                cache.put(keys[row], kept, ENTRY_BYTES + ITEM_BYTES * items)
        self.spent("cache", started)
        return out

    def _compute(self, detector: Detector, texts: Texts, channels: Channels) -> Scores:
        try:
            return detector.score(texts, channels, threads=self.threads, place=self.place, spent=self.spent)
        except (ArtefactError, BackendError):
            raise
        except Exception as error:  # a row that breaks a stage must not fail its neighbours
            if len(texts) == 1:
                return self._without(detector, texts, channels, error)
        out = Scores.empty(len(texts))
        middle = len(texts) // 2
        for start, stop in ((0, middle), (middle, len(texts))):
            part = self._compute(detector, texts.slice(start, stop), channels[start:stop])
            out.put(np.arange(start, stop), part)
        return out

    def _without(self, detector: Detector, text: Texts, channel: Channels, error: Exception) -> Scores:
        """Scores of one ``text`` on which a detector broke, by the others if they can do without it."""
        left_out: dict[str, str] = {}
        while isinstance(error, StageError) and error.detector not in left_out:
            left_out[error.detector] = str(error)
            try:
                return detector.score(text, channel, threads=self.threads, place=self.place, without=left_out)
            except (ArtefactError, BackendError):
                raise
            except Exception as another:  # as above
                error = another
        return Scores.failed(1, f"could not be judged: {type(error).__name__}: {error}")
