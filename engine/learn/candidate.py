"""What a round has learnt, as one file: exemplars as hashed n-grams and as states of the encoder, mined patterns with
thresholds, and a card."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
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
from aimds.detect.probe import Probe, States
from aimds.detect.stages import Detector
from aimds.detect.tail import Tail
from aimds.errors import ArtefactError, ConfigError

Arrays = dict[str, npt.NDArray[np.generic]]

FORMAT = 2
_PATTERN = ("id", "threat", "severity", "lang", "note", "text", "limit")
_VECTORS = ("indptr", "indices", "values", "owner")
_SIDES = ("attacks", "benign")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one round adds to a detector whose classifier has version ``model``. ``patterns`` with their thresholds;
    ``attacks`` and ``benign``: exemplars; ``probe``: what the encoder makes of these, None where there was none;
    ``version``: a hash of all that."""

    model: str
    bits: int
    attacks: Vectors
    benign: Vectors
    patterns: tuple[tuple[Pattern, float], ...]
    probe: Probe | None = None
    version: str = ""

    @classmethod
    def between(cls, before: Detector, after: Detector) -> Candidate:
        """What teaching added to ``before`` to make ``after``."""
        known = {pattern.id for pattern in before.bank.patterns}
        limits = zip(after.bank.patterns, after.bank.limits.tolist(), strict=True)
        added = tuple((pattern, limit) for pattern, limit in limits if pattern.id not in known)
        exemplars = after.exemplars
        return cls(model_of(before), exemplars.bits, exemplars.attacks, exemplars.benign, added, after.probe)

    def apply(self, detector: Detector) -> Detector:
        """``detector`` with this in it, beside what it was taught.

        Raises:
            ConfigError: it was learnt with another model or encoder, or a pattern does not fit the bank.
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
        probe = None if detector.deep is None else self.probe
        deep = detector.deep
        if probe is not None and deep is not None and not probe.fits(deep):
            expected = f"what was learnt with encoder {deep.version}, not {probe.attacks.version}: propose again"
            raise ConfigError("learned", self.version, expected)
        own, reference = detector.probe, made.reference
        if own is not None and probe is not None and reference is not None:
            probe = Probe.of(probe.attacks.joined(own.attacks), probe.benign.joined(own.benign), reference.states)
        # What the detector was taught by itself stays.
        exemplars = detector.exemplars.joined(made)
        return dataclasses.replace(detector, bank=bank, exemplars=exemplars, probe=own if probe is None else probe)

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
        probe = self.probe
        if probe is not None:
            card |= {"encoder": probe.attacks.version, "bias": probe.bias, "tails": len(probe.tails)}
            card |= {"states": {"attacks": probe.attacks.ids, "benign": probe.benign.ids}}
        arrays: Arrays = {"card": np.frombuffer(json.dumps(card, sort_keys=True).encode(), np.uint8)}
        for name, vectors in (("attacks", self.attacks), ("benign", self.benign)):
            arrays |= {f"{name}.{part}": getattr(vectors, part) for part in _VECTORS}
        if probe is not None:
            arrays["probe.weight"] = probe.weight
            for name, states in zip(_SIDES, (probe.attacks, probe.benign), strict=True):
                arrays |= {f"{name}.states": states.values, f"{name}.states.owner": states.owner}
            for side, fitted in enumerate(probe.tails):
                arrays |= fitted.arrays(f"probe.{side}")
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
            probe = _probe(name, arrays, card) if "encoder" in card else None
        except (KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"is no candidate: {error!r}") from error
        return cls(model, bits, attacks, benign, patterns, probe, hashlib.sha256(content).hexdigest())


def _states(name: object, arrays: Arrays, side: str, ids: list[str], encoder: str) -> States:
    values, owner = arrays[f"{side}.states"].astype(np.float16), arrays[f"{side}.states.owner"].astype(np.int32)
    found = States(tuple(map(str, ids)), values, owner, encoder)
    if not found.is_sound():
        raise ArtefactError(name, f"holds states that cannot be: {side}")
    return found


def _probe(name: object, arrays: Arrays, card: Mapping[str, Any]) -> Probe:
    bad, good = (_states(name, arrays, side, card["states"][side], str(card["encoder"])) for side in _SIDES)
    weight, bias = arrays["probe.weight"].astype(np.float32), float(card["bias"])
    tails = tuple(Tail.from_arrays(arrays, f"probe.{side}") for side in range(card["tails"]))
    widths = {bad.values.shape[2], good.values.shape[2], *weight.shape}
    sound = weight.ndim == 1 and len(widths) == 1 and bool(np.isfinite(weight).all()) and math.isfinite(bias)
    if not sound or len(tails) != (2 if len(bad) else 0) or not all(one.is_sound() for one in tails):
        raise ArtefactError(name, "holds a probe that cannot be")
    return Probe(bad, good, weight, bias, tails)


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
