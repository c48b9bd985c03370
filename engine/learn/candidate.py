"""What a round has learnt, as one file: exemplars as hashed n-grams, mined patterns with thresholds, and a card."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.exemplars import Exemplars, Vectors
from aimds.detect.patterns import Pattern
from aimds.detect.patterns.pattern_file import check
from aimds.detect.patterns.version import MAX_LIMIT
from aimds.detect.stages import Detector
from aimds.errors import ArtefactError, ConfigError

Arrays = dict[str, npt.NDArray[np.generic]]

FORMAT = 1
_PATTERN = ("id", "threat", "severity", "lang", "note", "text", "limit")
_VECTORS = ("indptr", "indices", "values", "owner")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one round adds to a detector whose classifier has version ``model``. ``patterns`` with their thresholds;
    ``attacks`` and ``benign``: exemplars; ``version``: a hash of all that."""

    model: str
    bits: int
    attacks: Vectors
    benign: Vectors
    patterns: tuple[tuple[Pattern, float], ...]
    version: str = ""

    @classmethod
    def between(cls, before: Detector, after: Detector) -> Candidate:
        """What teaching added to ``before`` to make ``after``."""
        known = {pattern.id for pattern in before.bank.patterns}
        limits = zip(after.bank.patterns, after.bank.limits.tolist(), strict=True)
        added = tuple((pattern, limit) for pattern, limit in limits if pattern.id not in known)
        exemplars = after.exemplars
        return cls(model_of(before), exemplars.bits, exemplars.attacks, exemplars.benign, added)

    def apply(self, detector: Detector) -> Detector:
        """``detector`` with this in it.

        Raises:
            ConfigError: it was learnt with another model, or a pattern does not fit the bank.
        """
        if self.model != model_of(detector):
            expected = f"what was learnt with model {model_of(detector)}; it belongs to {self.model}: propose again"
            raise ConfigError("learned", self.version, expected)
        known = {pattern.id for pattern in detector.bank.patterns} | {
            pattern.text for pattern in detector.bank.patterns
        }
        new = {
            pattern.id: (pattern, limit) for pattern, limit in self.patterns if not {pattern.id, pattern.text} & known
        }
        bank = detector.bank
        if new:
            limits = {name: limit for name, (_, limit) in new.items()}
            bank = bank.with_patterns([pattern for pattern, _ in new.values()], limits=limits)
        made = Exemplars.holding(
            self.attacks, self.benign, features=detector.classifier, reference=detector.exemplars.reference
        )
        return dataclasses.replace(detector, bank=bank, exemplars=made)

    def pack(self) -> bytes:
        """The bytes of its file; equal candidates have equal bytes. `unpack` is the reverse."""
        card = {
            "format": FORMAT,
            "model": self.model,
            "bits": self.bits,
            "patterns": [{**dataclasses.asdict(pattern), "limit": limit} for pattern, limit in self.patterns],
            "attacks": self.attacks.ids,
            "benign": self.benign.ids,
        }
        arrays: Arrays = {"card": np.frombuffer(json.dumps(card, sort_keys=True).encode(), np.uint8)}
        for name, vectors in (("attacks", self.attacks), ("benign", self.benign)):
            arrays |= {f"{name}.{part}": getattr(vectors, part) for part in _VECTORS}
        return data.pack(arrays)

    @classmethod
    def unpack(cls, name: object, content: bytes) -> Candidate:
        """The candidate in the bytes of its file; ``name`` is for the error text.

        Raises:
            ArtefactError: damaged, of another format, or holding what cannot be.
        """
        arrays = data.unpack(name, content)
        try:
            card = json.loads(arrays["card"].tobytes())
            if card["format"] != FORMAT:
                raise ArtefactError(name, f"is of format {card['format']!r}, this version reads format {FORMAT}")
            bits = int(card["bits"])
            attacks, benign = (_vectors(name, arrays, prefix, card[prefix], bits) for prefix in ("attacks", "benign"))
            patterns = tuple(_pattern(name, fields) for fields in card["patterns"])
            model = str(card["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"is no candidate: {error!r}") from error
        return cls(model, bits, attacks, benign, patterns, hashlib.sha256(content).hexdigest())


def model_of(detector: Detector) -> str:
    """Version of the classifier of ``detector``, whatever traffic it is calibrated for."""
    return detector.classifier.version.partition("+")[0]


def _pattern(name: object, fields: Mapping[str, Any]) -> tuple[Pattern, float]:
    limit = float(fields["limit"])
    pattern = Pattern(**{key: fields[key] for key in _PATTERN if key != "limit"})
    problem = check(pattern)
    if problem or not 0 <= limit <= MAX_LIMIT:
        raise ArtefactError(name, f"pattern {pattern.id}: expected {problem or f'a threshold in [0, {MAX_LIMIT}]'}")
    return pattern, limit


def _vectors(name: object, arrays: Arrays, prefix: str, ids: list[str], bits: int) -> Vectors:
    kinds = (np.int64, np.int32, np.float32, np.int32)
    found = [np.ascontiguousarray(arrays[f"{prefix}.{part}"], kind) for part, kind in zip(_VECTORS, kinds, strict=True)]
    indptr, indices, values, owner = found
    # The kernels do not look whether a place exists.
    sound = (
        all(part.ndim == 1 for part in found)
        and len(indptr) == len(owner) + 1
        and indptr[0] == 0
        and bool((np.diff(indptr) >= 0).all())
        and indptr[-1] == len(indices) == len(values)
        and bool(((indices >= 0) & (indices < 1 << bits)).all())
        and bool(np.isfinite(values).all())
        and bool(((owner >= 0) & (owner < max(len(ids), 1))).all())
        and bool((np.diff(owner) >= 0).all())
    )
    if not sound:
        raise ArtefactError(name, f"holds exemplars that cannot be: {prefix}")
    return Vectors.build(tuple(map(str, ids)), indptr, indices, values, owner)
