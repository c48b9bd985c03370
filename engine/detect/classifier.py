"""Hashed n-gram classifier: several linear heads over one pass of features.

Heads: ``attack`` (manipulation of any kind against benign text), ``indirect`` (instructions planted in data, used for
tool and document content only), ``harmful`` (content policy, apart), and one head per type that tells attacks apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import data, kernels
from aimds.detect.concepts import Concepts
from aimds.detect.concepts.heads import REACH, Said
from aimds.detect.tail import Tail
from aimds.errors import ArtefactError, KernelError
from aimds.kernels.placement import HOST, Place, joined
from aimds.kernels.room import Room, of_concepts, of_ngrams
from aimds.taxonomy import CODES

F32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

MODEL = "model.npz"
FORMAT = 1
TYPES = ("direct_injection", "indirect_injection", "jailbreak", "prompt_leak", "data_exfiltration")
HEADS = ("attack", "indirect", "harmful", *TYPES)
ATTACK, INDIRECT, HARMFUL, FIRST_TYPE = 0, 1, 2, 3
TAILS = ("attack", "attack.untrusted", "indirect", "harmful", "patterns", "rules")
"""Scores with a benign distribution in every model."""
DEEP_TAILS = ("joint", "joint.untrusted")
"""The same, in a model whose training included the encoder."""
CONCEPTS = "concepts."
"""Begins the names of the arrays of the heads over concepts."""
TYPE_CODES = np.array([CODES[name] for name in TYPES], np.int8)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Weights int8 (F, H) with ``scale`` float32 (H,), ``idf`` float32 (F,), ``bias`` float32 (H,), F = 2 ** ``bits``.

    ``tails`` are the benign distributions of each stage's score, ``card`` what the training wrote down about itself.
    ``concepts`` are the same heads over what the words mean, None in a model trained without.
    """

    bits: int
    weights: npt.NDArray[np.int8]
    scale: F32
    idf: F32
    bias: F32
    tails: dict[str, Tail]
    card: dict[str, Any]
    version: str
    concepts: Concepts | None = None

    @property
    def judges_deep(self) -> bool:
        """Whether there are benign tails for an encoder's scores."""
        return DEEP_TAILS[0] in self.tails

    def score(
        self, values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], *, threads: int = 1, place: Place = HOST
    ) -> F32:
        """Scores of ragged folded texts, float32 (W, H)."""
        return self.read(values, offsets, threads=threads, place=place)[0]

    def read(
        self, values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], *, threads: int = 1, place: Place = HOST
    ) -> tuple[F32, Flags]:
        """Scores of ragged folded texts in each head, float32 (W, H), and which of them are judged by what their words
        mean in another language than English, bool (W,)."""

        def part(first: int, last: int) -> tuple[F32, Flags]:
            batch = place.ragged(values, offsets, first, last)
            logits = self._of_ngrams(*batch, threads, place)
            if self.concepts is None:
                return place.fetch(logits)[0], np.zeros(last - first, np.bool_)
            ngrams, *heard = place.fetch(logits, *self.concepts.said(*batch, threads=threads, place=place))
            said = Said(*heard)
            foreign = self.concepts.foreign(said)
            return self.concepts.joined(ngrams, said, foreign, FIRST_TYPE), foreign

        logits, foreign = zip(*place.each(part, offsets, *self._room), strict=True)
        return joined(logits), joined(foreign)

    @property
    def _room(self) -> Room:
        # Logits of the n-grams, and scores of the concepts.
        made = 2 * self.bias.nbytes
        room = of_ngrams(self.bits, made)
        return room if self.concepts is None else room.or_else(of_concepts(REACH, made))

    def _of_ngrams(self, values: Any, offsets: Any, threads: int, place: Place) -> Any:
        # Their features are the largest arrays there are, and are let go here.
        if not len(self.weights) == len(self.idf) == 1 << self.bits:
            rows = f"{len(self.weights)} and {len(self.idf)} rows of weights and idf"
            raise KernelError("linear", "weights", f"{rows}, expected 2 ** {self.bits}")
        features = kernels.ngram_hash(values, offsets, bits=self.bits, threads=threads)
        tables = place.resident(self.weights, self.scale, self.idf, self.bias)
        return kernels.unchecked("linear", *features, *tables, threads=threads)

    @classmethod
    def load(cls, path: Path | None = None) -> Classifier:
        """The shipped model, or the one in ``path``.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one the manifest names.
        """
        if path is None:
            return cls.unpack(MODEL, data.read_bytes(MODEL))
        if not path.is_file():
            raise ArtefactError(path, "no such model file")
        return cls.unpack(str(path), data.read_file(path))

    @classmethod
    def unpack(cls, name: str, content: bytes) -> Classifier:
        """The model in the bytes of an ``.npz`` file."""
        arrays = data.unpack(name, content)
        if "card" not in arrays:
            raise ArtefactError(name, "has no model card; it is not a model file")
        try:
            card = json.loads(arrays["card"].tobytes())
        except ValueError as error:
            raise ArtefactError(name, f"has a model card that is no JSON: {error}") from error
        if not isinstance(card, dict):
            raise ArtefactError(name, "has a model card that is no JSON object")
        if card.get("format") != FORMAT or tuple(card.get("heads", ())) != HEADS:
            raise ArtefactError(name, f"is of format {card.get('format')!r}, this version reads format {FORMAT}")
        bits = card.get("bits")
        if not isinstance(bits, int) or not 10 <= bits <= 24:
            raise ArtefactError(name, f"has 2 ** {bits!r} features, expected 2 ** 10 to 2 ** 24")
        shapes = {"weights": (1 << bits, len(HEADS)), "idf": (1 << bits,)}
        shapes |= {"scale": (len(HEADS),), "bias": (len(HEADS),)}
        for key, shape in shapes.items():
            if key not in arrays or arrays[key].shape != shape:
                raise ArtefactError(name, f"its array {key!r} is missing or not of shape {shape}")
            if not np.isfinite(arrays[key].astype(np.float32)).all():
                raise ArtefactError(name, f"its array {key!r} holds a value that is not finite")
        try:
            more = DEEP_TAILS if f"{DEEP_TAILS[0]}.tail" in arrays else ()
            concepts = None
            mine = {key.removeprefix(CONCEPTS): array for key, array in arrays.items() if key.startswith(CONCEPTS)}
            if mine:
                concepts = Concepts.from_arrays(mine, len(HEADS))
            tails = {prefix: Tail.from_arrays(arrays, prefix) for prefix in (*TAILS, *more)}
            slope, intercept = (float(card["calibration"][key]) for key in ("slope", "intercept"))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"its calibration is incomplete: {error!r}") from error
        if not (
            slope > 0 and np.isfinite([slope, intercept]).all() and all(tail.is_sound() for tail in tails.values())
        ):
            raise ArtefactError(name, "its calibration holds a value that cannot be")
        return cls(
            bits=bits,
            weights=np.ascontiguousarray(arrays["weights"], np.int8),
            scale=np.ascontiguousarray(arrays["scale"], np.float32),
            idf=np.ascontiguousarray(arrays["idf"], np.float32),
            bias=np.ascontiguousarray(arrays["bias"], np.float32),
            tails=tails,
            card=card,
            version=hashlib.sha256(content).hexdigest()[:12],
            concepts=concepts,
        )

    def pack(self) -> dict[str, npt.NDArray[np.generic]]:
        """As named arrays for an ``.npz`` file; `unpack` is the reverse."""
        card = {**self.card, "format": FORMAT, "heads": list(HEADS), "bits": self.bits}
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "weights": self.weights,
            "scale": self.scale,
            "idf": self.idf.astype(np.float16),
            "bias": self.bias,
            "card": np.frombuffer(json.dumps(card, indent=1, sort_keys=True).encode(), np.uint8),
        }
        if self.concepts is not None:
            arrays.update({f"{CONCEPTS}{key}": array for key, array in self.concepts.arrays().items()})
        for prefix, tail in sorted(self.tails.items()):
            arrays.update(tail.arrays(prefix))
        return arrays


def quantise(weights: F32) -> tuple[npt.NDArray[np.int8], F32]:
    """int8 weights (F, H) and the scale (H,) that undoes it. One part in a million of each head is clipped."""
    scale = np.maximum(np.quantile(np.abs(weights), 1.0 - 1e-6, axis=0) / 127.0, 1e-12).astype(np.float32)
    return np.clip(np.rint(weights / scale), -127, 127).astype(np.int8), scale
