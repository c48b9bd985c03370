"""What a hunt looks for: a few patterns with a threshold each, or signatures, read from a file or made of exemplars."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aimds import data
from aimds.detect.patterns import SYNONYMS, Bank, Pattern, pattern_file
from aimds.detect.patterns.lexicon import Lexicon
from aimds.detect.patterns.similarity import MAX_REACH
from aimds.detect.rules import signatures
from aimds.errors import ConfigError, DataError

THRESHOLD = 0.15
"""Normalised distance up to which a pattern counts, where nothing else is said; that of a pattern new to the bank."""
PREFIX = "exemplar"


@dataclass(frozen=True, slots=True)
class Target:
    """One pattern or signature for a reader, with its text or note; ``threshold`` is None for a signature."""

    id: str
    threat: str
    text: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Sought:
    """Patterns with their ``limits`` (normalised distances), and ``rules``: a file of signatures, as text."""

    patterns: tuple[Pattern, ...] = ()
    limits: tuple[float, ...] = ()
    rules: str = ""

    @property
    def targets(self) -> list[Target]:
        """All that is looked for, in order of id."""
        found = [Target(p.id, p.threat, p.text, limit) for p, limit in zip(self.patterns, self.limits, strict=True)]
        if self.rules:
            named = signatures.parse(self.rules.encode(), "signatures")
            found += [Target(one.id, one.threat, one.note, None) for one in named]
        return sorted(found, key=lambda target: target.id)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"patterns": [asdict(one) for one in self.patterns], "limits": list(self.limits), "rules": self.rules}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sought:
        """The inverse of ``to_json``."""
        patterns = tuple(Pattern(**fields) for fields in value["patterns"])
        return cls(patterns, tuple(value["limits"]), value["rules"])

    def bank(self) -> Bank:
        """A bank of the patterns alone, with the shipped lexicon.

        Raises:
            ConfigError: a pattern has too few words that count.
        """
        return Bank.build(self.patterns, _lexicon(), np.array(self.limits, np.float32), "hunt")


@cache
def _lexicon() -> Lexicon:
    return Lexicon.parse(SYNONYMS, data.read_bytes(SYNONYMS))


def read(file: Path) -> tuple[list[Pattern], str]:
    """The patterns in ``file``, or the text of its signatures: it is told by what the TOML holds.

    Raises:
        DataError: it cannot be read.
        ArtefactError: it holds neither, or something malformed; the pattern or signature is named.
    """
    try:
        content = file.read_bytes()
        table = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise DataError(file, f"cannot be read as a file of patterns or signatures: {problem}") from error
    if "signature" in table:
        for signature in signatures.parse(content, str(file)):
            if signature.regex:
                signatures.compiled(signature, str(file))
        return [], content.decode()
    if "pattern" not in table:
        raise DataError(file, "holds neither [[signature]] nor pattern; see the shipped files in aimds/data")
    return pattern_file.parse(file, content), ""


def lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file that are not blank.

    Raises:
        DataError: it cannot be read, or holds none.
    """
    try:
        found = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise DataError(file, f"cannot be read: {problem}") from error
    if not found:
        raise DataError(file, "holds no line of text")
    return found


def sought(
    files: Iterable[Path] = (),
    exemplars: Sequence[str] = (),
    *,
    threshold: float | None = None,
    threat: str = "direct_injection",
    benign: Sequence[str] = (),
) -> Sought:
    """What to look for.

    Args:
        files: pattern or signature files.
        exemplars: texts of which patterns are made: their most unusual stretches of words.
        threshold: normalised distance of all patterns; default THRESHOLD, or learnt where there are ``benign`` texts.
        threat: threat type of what is made of exemplars.
        benign: texts that must not be found: they keep thresholds low and ordinary words out of patterns.

    Raises:
        ConfigError: nothing to look for, an id twice, a threshold outside (0, 0.6], an exemplar without a pattern.
        DataError, ArtefactError: a file cannot be used.
    """
    if threshold is not None and not 0 < threshold <= MAX_REACH:
        raise ConfigError("threshold", threshold, f"a normalised distance above 0 and up to {MAX_REACH}")
    patterns: list[Pattern] = []
    rules: list[str] = []
    for file in files:
        some, text = read(file)
        patterns += some
        rules += [text] if text else []
    if len(rules) > 1:
        raise ConfigError("pattern", len(rules), "at most one file of signatures")
    if exemplars:
        from aimds.learn.mining import patterns_of

        mined = patterns_of(list(exemplars), threat=threat, prefix=PREFIX, benign=list(benign))
        if not mined:
            raise ConfigError("exemplar", exemplars[0][:80], "a text with at least four words that count")
        patterns += mined
    if not patterns and not rules:
        expected = "a file of patterns or signatures (--pattern FILE), or an exemplar (--exemplar TEXT)"
        raise ConfigError("pattern", "", expected)
    ids = [pattern.id for pattern in patterns]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise ConfigError("pattern", twice[0], "an id that stands there once")
    made = Sought(tuple(patterns), tuple(threshold or THRESHOLD for _ in patterns), "".join(rules))
    if not patterns:
        return made
    bank = made.bank()
    if benign and threshold is None:
        learnt = dict(zip((one.id for one in bank.patterns), bank.calibrated(benign).limits.tolist(), strict=True))
        made = Sought(made.patterns, tuple(learnt[pattern.id] for pattern in made.patterns), made.rules)
    return made
