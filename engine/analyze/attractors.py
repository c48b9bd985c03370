"""The type of the attractor that a series moves on: a forest of trees, and chaos only where surrogates are beaten.

It is advice and decides nothing. How often it is right, by length and noise, on systems that it never learnt from, is
in its card: below LEAST values too seldom to say anything.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import data
from aimds.analyze import dynamics
from aimds.analyze.dynamics import COLUMN, FEATURES, MOST, SETTINGS
from aimds.errors import ArtefactError

F64 = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]

MODEL: Final = "attractors.npz"
FORMAT: Final = 1
TYPES: Final = ("fixed_point", "periodic", "quasi_periodic", "chaotic", "stochastic", "insufficient_data")
LEAST: Final = 32
"""Values below which a series has no type."""
SEED: Final = 20090101
"""Of the surrogates."""
ARRAYS: Final = ("feature", "threshold", "left", "right", "shares")
NOTHING: Final = -9.0
"""What stands for a feature that a series does not have."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a series moves on: one of TYPES, ``share`` of the forest that says so (0 for insufficient_data), and whether
    it ``beats`` its surrogates, in its values and in its steps: asked only where most of the forest says chaotic, else
    None. Where it does not, the type is the one that comes second."""

    name: str
    share: float
    beats: bool | None


@dataclass(frozen=True, slots=True)
class Attractors:
    """T trees of at most N nodes: ``feature`` int16 (T, N), -1 for a leaf, ``threshold`` float32, ``left`` and
    ``right`` int16, ``shares`` float32 (T, N, 5) of the types at a leaf."""

    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float32]
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]
    shares: npt.NDArray[np.float32]
    card: dict[str, Any]
    version: str

    def kinds(self, values: F64, offsets: Offsets) -> list[Kind]:
        """What each of B rows moves on, by its last MOST values; rows with a value that is no number have no type.

        Args:
            values: float64 (N,). offsets: int64 (B+1,).
        """
        out = [Kind("insufficient_data", 0.0, None)] * (len(offsets) - 1)
        for k, kind in self._typed(values, offsets):
            out[k] = kind
        return out

    def codes(self, values: F64, offsets: Offsets) -> npt.NDArray[np.int8]:
        """The place in TYPES of the names of `kinds`, int8 (B,)."""
        out = np.full(len(offsets) - 1, TYPES.index("insufficient_data"), np.int8)
        for k, kind in self._typed(values, offsets):
            out[k] = TYPES.index(kind.name)
        return out

    def column(self, values: F64, offsets: Offsets) -> pa.Array:
        """The column ``attractor`` of `kinds`."""
        return named(self.codes(values, offsets))

    def _typed(self, values: F64, offsets: Offsets) -> Iterator[tuple[int, Kind]]:
        """Those of the rows that have a type."""
        long = np.flatnonzero(np.diff(offsets) >= LEAST).tolist()
        rows = {k: values[max(int(offsets[k]), int(offsets[k + 1]) - MOST) : offsets[k + 1]] for k in long}
        chosen = [k for k, row in rows.items() if np.isfinite(row).all()]
        if not chosen:
            return
        bounds = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum([len(rows[k]) for k in chosen], out=bounds[1:])
        features = dynamics.measured(np.concatenate([rows[k] for k in chosen]), bounds)
        shares = self.shares_of(prepared(features, np.diff(bounds)))
        still = np.isnan(features[:, COLUMN["volatility"]]) | (features[:, COLUMN["volatility"]] == 0.0)
        for place, k in enumerate(chosen):
            yield k, Kind("fixed_point", 1.0, None) if still[place] else self._kind(rows[k], shares[place])

    def shares_of(self, x: npt.NDArray[np.float32]) -> F64:
        """Share of the forest for each of the first five TYPES, float64 (B, 5), of `prepared` rows."""
        trees = np.arange(len(self.feature))[None, :]
        node = np.zeros((len(x), len(self.feature)), np.int16)
        rows = np.arange(len(x))[:, None]
        while True:
            feature = self.feature[trees, node]
            inner = feature >= 0
            if not inner.any():
                return np.asarray(self.shares[trees, node].mean(axis=1), np.float64)
            goes_left = x[rows, feature] <= self.threshold[trees, node]
            step = np.where(goes_left, self.left[trees, node], self.right[trees, node])
            node = np.where(inner, step, node)

    def _kind(self, row: F64, shares: F64) -> Kind:
        first, second = np.argsort(-shares, kind="stable")[:2].tolist()
        if TYPES[first] != "chaotic":
            return Kind(TYPES[first], float(shares[first]), None)
        beats = all(dynamics.against(series, _phases()).beats for series in (row, np.diff(row)))
        chosen = first if beats else second
        return Kind(TYPES[chosen], float(shares[chosen]), beats)

    def pack(self) -> bytes:
        """The bytes of an ``.npz`` file; `unpack` is the reverse."""
        text = json.dumps(self.card, sort_keys=True).encode()
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return data.pack({**arrays, "card": np.frombuffer(text, np.uint8)})

    @classmethod
    def unpack(cls, name: object, content: bytes) -> Attractors:
        """The model in the bytes of an ``.npz`` file; ``name`` is for the error text.

        Raises:
            ArtefactError: damaged, or of another format.
        """
        arrays = data.unpack(name, content)
        try:
            card = json.loads(arrays["card"].tobytes())
            if card["format"] != FORMAT or card["settings"] != dict(SETTINGS) or card["features"] != list(FEATURES):
                raise ArtefactError(name, "looks at series in another way than this version; train it anew")
            version = hashlib.sha256(content).hexdigest()[:12]
            model = cls(**{key: arrays[key] for key in ARRAYS}, card=card, version=version)  # type: ignore[arg-type]
            sound = model.is_sound()
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"holds no trees: {error}") from error
        if not sound:
            raise ArtefactError(name, "its trees lead nowhere")
        return model

    def is_sound(self) -> bool:
        """Whether every step leads on to a node of the same tree, so that every walk ends."""
        shape = self.feature.shape
        fits = all(getattr(self, name).shape[:2] == shape for name in ARRAYS) and self.shares.shape[2:] == (5,)
        whole = all(getattr(self, name).dtype == np.int16 for name in ("feature", "left", "right"))
        if not fits or not whole or not shape[1]:
            return False
        inner = self.feature >= 0
        here = np.broadcast_to(np.arange(shape[1]), shape)
        onward = (self.left > here) & (self.right > here) & (self.left < shape[1]) & (self.right < shape[1])
        known = bool((self.feature <= len(FEATURES)).all())
        return known and bool(onward[inner].all()) and bool(np.isfinite(self.shares).all())

    @classmethod
    def load(cls) -> Attractors:
        """The shipped model.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one the manifest names.
        """
        return _shipped()


def prepared(features: F64, lengths: Offsets) -> npt.NDArray[np.float32]:
    """What the trees look at, float32 (B, 17): ``features`` with lengths as parts of the row's, small numbers as their
    logarithms, and the logarithm of the row's length."""
    out = np.column_stack([features, np.log(lengths)])
    for name in ("longest_line", "period"):
        out[:, COLUMN[name]] /= lengths
    for name, least in (("prediction_error", 1e-4), ("period_miss", 1e-4), ("settling", 1e-6)):
        out[:, COLUMN[name]] = np.log10(np.maximum(out[:, COLUMN[name]], 0.0) + least)
    return np.asarray(np.nan_to_num(out, nan=NOTHING), np.float32)


def named(codes: npt.NDArray[np.int8]) -> pa.Array:
    """The column ``attractor`` of ``codes`` int8 (B,), places in TYPES; null where there is none, -1."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(TYPES, pa.string())).cast(
        pa.string()
    )


@functools.cache
def _phases() -> F64:
    return dynamics.phases(SEED)


@functools.cache
def _shipped() -> Attractors:
    return Attractors.unpack(MODEL, data.read_bytes(MODEL))
