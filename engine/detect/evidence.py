"""What a detector found, and where: the row type every rule-like stage returns."""

from __future__ import annotations

from typing import NamedTuple

MAX_EVIDENCE = 8
"""What is kept of a row's findings, the strongest first."""


class Evidence(NamedTuple):
    """One finding. Offsets are bytes in the ORIGINAL UTF-8 text of the row, end exclusive."""

    row: int
    """Row of the batch."""
    detector: str
    """Stage that found it: rules, patterns, classifier, deep, exemplars."""
    pattern_id: str
    """Id of the signature, PII kind, pattern or head."""
    threat: str
    """Threat type (`aimds.taxonomy`)."""
    start: int
    end: int
    score: float
    """Strength in [0, 1]; 1 leaves no doubt."""


class Span(NamedTuple):
    """Personal data or a secret. Offsets are bytes in the ORIGINAL UTF-8 text of the row, end exclusive."""

    row: int
    start: int
    end: int
    kind: str
    """Entity kind in upper case, for example EMAIL, CREDIT_CARD, AWS_ACCESS_KEY."""
    score: float
    """Confidence in [0, 1]."""
