"""From what a session shows to one p-value and one score: each part against benign sessions of its length, then fused.

A part's p-value is the share of benign sessions of about as many turns that show as much. The parts are joined by the
weighted harmonic mean of their p-values (Wilson 2019, doi:10.1073/pnas.1814092116), which holds for dependent parts,
and the result has a benign tail of its own. The highest turn needs no tail: its p-value is that of the verdict,
corrected for the number of turns (Šidák 1967, doi:10.1080/01621459.1967.10482935).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.analyze.series import COLUMN
from aimds.detect.tail import SMALLEST_P, Tail
from aimds.errors import ArtefactError
from aimds.respond.session_findings import SIGNS

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MODEL: Final = "sessions.npz"
FORMAT: Final = 1
SHARES: Final = {
    "peak": 0.2,
    "rise": 0.25,
    "shift": 0.1,
    "cusum": 0.1,
    "spread": 0.2,
    "mean": 0.05,
    "rephrase": 0.05,
    "split": 0.05,
}
"""Weight of each part; they sum to 1. Where a part could not be looked at, the others share its weight."""
assert tuple(SHARES) == tuple(SIGNS), "verdicts say which part a score rests on by its place"
SERIES: Final = ("rise", "shift", "cusum", "spread", "mean")
"""Parts with a benign tail by length."""
TEXT: Final = ("rephrase", "split")
"""Parts with one benign tail, and 1 for sessions that show nothing of them."""
LENGTHS: Final = (2, 3, 4, 5, 6, 8, 12, 18, 25)
"""First number of turns of each bucket but the first, which is sessions of one turn."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What B sessions show. ``features`` float64 (B, 12) of `kernels.session_series` over surprises · ``lengths`` int64
    (B,): turns of the series · ``rephrase``, ``split`` float64 (B,), 0 for nothing found, None if nobody looked."""

    features: F64
    lengths: Ints
    rephrase: F64 | None = None
    split: F64 | None = None


@dataclass(frozen=True, slots=True)
class SessionModel:
    """Benign ``tails`` by part and bucket ("rise.3"), of each text part, and of the fused value ("fused.3"); ``card``
    is what the training wrote down about itself."""

    tails: Mapping[str, Tail]
    card: dict[str, Any]
    version: str

    def p_values(self, parts: Parts) -> F64:
        """The p-value of each of B sessions, float64 (B,); 1 for a session without turns."""
        return self._after_tail(self.fused(parts), parts.lengths)

    def _after_tail(self, raw: F64, lengths: Ints) -> F64:
        out = np.ones(len(raw))
        bucket = buckets(lengths)
        for number in np.unique(bucket[lengths > 0]):
            rows = np.flatnonzero((bucket == number) & (lengths > 0))
            tail = self.tails.get(f"fused.{number}")
            out[rows] = np.minimum(raw[rows], 1.0) if tail is None else tail.p_value(-np.log10(raw[rows]))
        return out

    def fused(self, parts: Parts) -> F64:
        """The weighted harmonic mean of the parts' p-values, float64 (B,), before its own tail."""
        return self._fused(self._weights(parts))

    def _weights(self, parts: Parts) -> dict[str, F64]:
        # What each part adds to the inverse of the mean.
        return {name: SHARES[name] / p for name, p in self.part_p_values(parts).items()}

    def _fused(self, weights: Mapping[str, F64]) -> F64:
        return np.asarray(sum(SHARES[name] for name in weights) / sum(weights.values()), np.float64)

    def part_p_values(self, parts: Parts) -> dict[str, F64]:
        """p-value of each part that was looked at, float64 (B,)."""
        lengths = parts.lengths
        chance = 10.0 ** -parts.features[:, COLUMN["peak"]]
        # 1 - (1 - p) ** n, exact for small p.
        with np.errstate(divide="ignore"):
            peak = np.where(lengths > 0, -np.expm1(np.maximum(lengths, 1) * np.log1p(-chance)), 1.0)
        out = {"peak": np.maximum(peak, SMALLEST_P)}
        bucket = buckets(lengths)
        for name in SERIES:
            p = np.ones(len(lengths))
            for number in np.unique(bucket):
                tail = self.tails.get(f"{name}.{number}")
                if tail is not None:
                    rows = np.flatnonzero(bucket == number)
                    p[rows] = tail.p_value(parts.features[rows, COLUMN[name]])
            out[name] = np.where(lengths > 1, p, 1.0)
        for name in TEXT:
            found = getattr(parts, name)
            if found is not None:
                tail = self.tails.get(name)
                out[name] = np.ones(len(lengths)) if tail is None else np.where(found > 0, tail.p_value(found), 1.0)
        return out

    def scores(self, p: F64) -> F64:
        """Score in (0, 1), float64, of ``p``: rises as it falls; a probability at the prevalence of the card."""
        slope, intercept = (self.card["calibration"][key] for key in ("slope", "intercept"))
        return np.asarray(1.0 / (1.0 + np.exp(intercept + slope * np.log10(p))), np.float64)

    def float_scores(self, parts: Parts) -> npt.NDArray[np.float32]:
        """The column ``session_score`` of B sessions: float32 (B,), inside (0, 1)."""
        return self.judged(parts)[0]

    def judged(self, parts: Parts) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
        """As `float_scores`, and the part that each score rests on most, int8 (B,): its place in SHARES."""
        weights = self._weights(parts)
        scores = self.scores(self._after_tail(self._fused(weights), parts.lengths)).astype(np.float32)
        scores = np.clip(scores, np.finfo(np.float32).tiny, np.nextafter(np.float32(1.0), np.float32(0.0)))
        places = np.array([list(SHARES).index(name) for name in weights], np.int8)
        return scores, places[np.argmax(np.stack(list(weights.values())), axis=0)]

    def threshold(self, p: float) -> float:
        """The score of a session with the p-value ``p``."""
        return float(self.scores(np.array([p]))[0])

    def pack(self) -> bytes:
        """The bytes of an ``.npz`` file; `unpack` is the reverse."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for name, tail in self.tails.items():
            arrays |= tail.arrays(name)
        text = json.dumps(self.card, sort_keys=True).encode()
        return data.pack(arrays | {"card": np.frombuffer(text, np.uint8)})

    @classmethod
    def load(cls) -> SessionModel:
        """The shipped model.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one the manifest names.
        """
        return _shipped()

    @classmethod
    def unpack(cls, name: object, content: bytes) -> SessionModel:
        """The model in the bytes of an ``.npz`` file; ``name`` is for the error text.

        Raises:
            ArtefactError: damaged, or of another format.
        """
        arrays = data.unpack(name, content)
        try:
            card = json.loads(arrays["card"].tobytes())
            if card["format"] != FORMAT or card["shares"] != SHARES:
                raise ArtefactError(name, f"is of format {card['format']!r} or other parts; train it anew")
            names = [key.removesuffix(".tail") for key in arrays if key.endswith(".tail")]
            tails = {key: Tail.from_arrays(arrays, key) for key in names}
            float(card["calibration"]["slope"]), float(card["calibration"]["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"holds no model of sessions: {error}") from error
        unsound = [key for key, tail in tails.items() if not tail.is_sound()]
        if unsound:
            raise ArtefactError(name, f"its tail {unsound[0]!r} holds values that no distribution has")
        return cls(tails, card, hashlib.sha256(content).hexdigest()[:12])


@functools.cache
def _shipped() -> SessionModel:
    return SessionModel.unpack(MODEL, data.read_bytes(MODEL))


def buckets(lengths: Ints) -> Ints:
    """Number of the bucket of sessions with so many turns, int64, from 0."""
    return np.asarray(np.searchsorted(LENGTHS, lengths, side="right"), np.int64)
