"""Teaching a detector confirmed attacks: in a moment it knows their wording and what is like them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from aimds.detect.exemplars import WINDOWS, Exemplars, exemplar_id
from aimds.detect.gray import MAX_WINDOWS
from aimds.detect.patterns import Bank, Pattern
from aimds.detect.probe import Probe, States, remembered
from aimds.detect.stages import Detector
from aimds.errors import ConfigError
from aimds.learn.mining import patterns_of

TAUGHT = "taught"
"""What the ids of taught patterns begin with."""
MINED_THRESHOLD = 0.25
"""No mined pattern has a higher threshold; confirmed benign texts may lower it."""


def teach(
    detector: Detector,
    attacks: Sequence[str],
    benign: Sequence[str] = (),
    *,
    threat: str | Sequence[str] = "direct_injection",
) -> Detector:
    """Another detector that also knows these ``attacks``; ``detector`` stays as it is.

    The attacks become exemplars, mined patterns and, where the detector has an encoder, a probe of its states;
    confirmed ``benign`` texts become exemplars that speak against a match and calibrate the patterns. What is taught
    twice counts once: a pattern that is known stays as it is.

    Args:
        threat: threat type of the mined patterns, or one for each attack.

    Raises:
        ConfigError: nothing to teach, an unknown ``threat``, or a reference that was made with another encoder.
    """
    if not attacks and not benign:
        raise ConfigError("attacks", list(attacks), "at least one confirmed attack or benign text")
    taught = Exemplars.of(attacks, benign, features=detector.classifier, reference=detector.exemplars.reference)
    mined = _mined(detector, attacks, benign, [threat] * len(attacks) if isinstance(threat, str) else threat)
    known = {pattern.text for pattern in detector.bank.patterns}
    new = list({_id(pattern): pattern for pattern in mined if pattern.text not in known}.values())
    new = [dataclasses.replace(pattern, id=_id(pattern)) for pattern in new]
    bank = detector.bank
    if new:
        bank = _added(bank, new, benign)
    probe = _probe(detector, taught, attacks, benign)
    return dataclasses.replace(detector, bank=bank, exemplars=detector.exemplars.joined(taught), probe=probe)


def _probe(detector: Detector, taught: Exemplars, attacks: Sequence[str], benign: Sequence[str]) -> Probe | None:
    # Only texts that are exemplars as well: what has no word that counts says nothing of an attack.
    deep, reference, before = detector.deep, taught.reference, detector.probe
    if deep is None or reference is None or not len(reference.states):
        return before

    def states(texts: Sequence[str], ids: Sequence[str], most: int) -> States:
        named = {name: text for text in texts if (name := exemplar_id(text)) in ids}
        return remembered(named, detector.classifier, deep, most)

    bad, good = states(attacks, taught.attacks.ids, WINDOWS), states(benign, taught.benign.ids, MAX_WINDOWS)
    if before is not None:
        bad, good = before.attacks.joined(bad), before.benign.joined(good)
    return Probe.of(bad, good, reference.states)


def _mined(
    detector: Detector, attacks: Sequence[str], benign: Sequence[str], threats: Sequence[str]
) -> Iterator[Pattern]:
    if len(threats) != len(attacks):
        raise ConfigError("threat", f"{len(threats)} types", f"one type, or one for each of {len(attacks)} attacks")
    for name in dict.fromkeys(threats):
        yield from patterns_of(
            [text for text, threat in zip(attacks, threats, strict=True) if threat == name],
            threat=name,
            prefix=TAUGHT,
            benign=benign,
            classifier=detector.classifier,
            lexicon=detector.bank.lexicon,
        )


def _id(pattern: Pattern) -> str:
    return f"{TAUGHT}." + hashlib.sha256(pattern.text.encode()).hexdigest()[:12]


def _added(bank: Bank, new: list[Pattern], benign: Sequence[str]) -> Bank:
    limits = {} if benign else {pattern.id: MINED_THRESHOLD for pattern in new}
    larger = bank.with_patterns(new, limits=limits, benign=benign)
    names = {pattern.id for pattern in new}
    fresh = np.array([pattern.id in names for pattern in larger.patterns])
    lowered = np.minimum(larger.limits, np.float32(MINED_THRESHOLD))
    return dataclasses.replace(larger, limits=np.where(fresh, lowered, larger.limits))
