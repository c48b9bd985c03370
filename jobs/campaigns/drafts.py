"""Draft signatures: patterns mined from a family's texts, kept where they find it and spare what was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from aimds import data
from aimds.detect.classifier import Classifier
from aimds.detect.patterns import NEW_THRESHOLD, SYNONYMS, Bank, Pattern, pattern_file
from aimds.detect.patterns.closeness import Closeness, near
from aimds.detect.patterns.lexicon import Lexicon
from aimds.jobs.campaigns.findings import Draft
from aimds.jobs.scan.durable import guarded, make_folder, writing
from aimds.learn.mining import patterns_of
from aimds.taxonomy import CODES

NOTE = "drafted from a campaign"
MINED_FROM, TRIED_ON = 12, 200
"""Texts of a family that patterns are mined from, and that they are tried on."""
UNKNOWN_THREAT = "direct_injection"
"""What patterns are drafted for where verdicts of another writer name a threat type that is none of ours."""
TOGETHER = 512
"""Texts that are tried in one call."""
MOST = 3
"""Patterns of a draft: a bank names so many for one stretch of text, so that each is seen at work."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A family to draft for. ``texts`` as they were, most telling first · ``shown``: the first of them without personal
    data, to mine from: a pattern is read, kept and shared."""

    name: str
    threat: str
    texts: list[bytes]
    shown: list[str]


def draft(asked: Sequence[Asked], ordinary: Sequence[bytes]) -> list[Draft | None]:
    """A draft for each family, None where its texts have no stretch that tells; none finds one of ``ordinary``."""
    if not asked:
        return []
    model, lexicon = _weighing()
    mined: list[Pattern] = []
    owner: list[int] = []
    for number, one in enumerate(asked):
        found = _mined(one, model, lexicon)
        mined += found
        owner += [number] * len(found)
    if not mined:
        return [None] * len(asked)
    bank = Bank.build(mined, lexicon, np.full(len(mined), NEW_THRESHOLD, np.float32), "drafts")
    place = {pattern.id: k for k, pattern in enumerate(mined)}
    of = [place[pattern.id] for pattern in bank.patterns]
    spoilt = {of[item.pattern] for item in _matches(bank, ordinary)}
    out: list[Draft | None] = []
    for number, one in enumerate(asked):
        own = {k for k in range(len(mined)) if owner[k] == number and k not in spoilt}
        met: dict[int, set[int]] = {k: set() for k in sorted(own)}
        tried = one.texts[:TRIED_ON]
        for item in _matches(bank, tried):
            if of[item.pattern] in own:
                met[of[item.pattern]].add(item.row)
        out.append(_chosen(one.name, mined, met, len(tried), len(ordinary)))
    return out


def _mined(one: Asked, model: Classifier, lexicon: Lexicon) -> list[Pattern]:
    """Patterns of the words that at least half of the texts share, then of those that two do: what one text alone has,
    as a name or a number, is not the family's."""
    texts = one.shown[:MINED_FROM]
    found: dict[str, Pattern] = {}
    for held_by in dict.fromkeys((max(min(2, len(texts)), (len(texts) + 1) // 2), min(2, len(texts)))):
        for pattern in patterns_of(
            texts,
            threat=one.threat if one.threat in CODES else UNKNOWN_THREAT,
            prefix=f"{one.name}.{held_by}",
            per_text=2,
            held_by=held_by,
            classifier=model,
            lexicon=lexicon,
        ):
            found.setdefault(pattern.text, pattern)
    return list(found.values())


@cache
def _weighing() -> tuple[Classifier, Lexicon]:
    return Classifier.load(), Lexicon.parse(SYNONYMS, data.read_bytes(SYNONYMS))


def _matches(bank: Bank, texts: Sequence[bytes]) -> Iterator[Closeness]:
    for start in range(0, len(texts), TOGETHER):
        some = texts[start : start + TOGETHER]
        yield from (item for item in near(bank, some, slack=0.0) if item.matched)


def _chosen(name: str, mined: list[Pattern], met: dict[int, set[int]], tried: int, spared: int) -> Draft | None:
    """At most MOST patterns, each the one that finds most texts beyond those before it."""
    chosen: list[int] = []
    covered: set[int] = set()
    while met and len(chosen) < MOST:
        best = max(met, key=lambda k: (len(met[k] - covered), -k))
        if not met[best] - covered:
            break
        chosen.append(best)
        covered |= met[best]
    if not chosen:
        return None
    kept = [replace(mined[k], id=f"{name}.{n:02d}", note=NOTE) for n, k in enumerate(chosen, 1)]
    return Draft(kept, len(covered), tried, spared)


def as_toml(draft: Draft, about: Sequence[str]) -> str:
    """A file of patterns as `aimds hunt` and `aimds patterns` read it; ``about`` are lines of comment."""
    # A JSON string is a TOML string, but for the control character that JSON leaves as it is.
    entries = [
        "  { "
        + ", ".join(
            f"{name} = {json.dumps(getattr(pattern, name), ensure_ascii=False)}" for name in pattern_file.FIELDS
        ).replace("\x7f", "\\u007f")
        + " },"
        for pattern in draft.patterns
    ]
    lines = [*(f"# {line}" for line in about), f'threat = "{draft.patterns[0].threat}"', "pattern = [", *entries, "]"]
    return "\n".join(lines) + "\n"


def write(folder: Path, name: str, content: str) -> Path:
    """Put a draft at ``folder/name.toml``, whole or not at all.

    Raises:
        DataError: it cannot be written.
        ArtefactError: what is to be written would not be read as patterns.
    """
    path = folder / f"{name}.toml"
    pattern_file.parse(path, content.encode())
    make_folder(folder)
    with guarded(path, "write"), writing(path) as file:
        file.write(content.encode())
    return path
