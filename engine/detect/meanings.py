"""What the words mean that a verdict names as evidence in another language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from aimds.detect.readings import Reading, read_as, readings

if TYPE_CHECKING:
    from aimds.detect.concepts import Concepts
    from aimds.detect.concepts.meaning import Meaning

Meanings = Mapping[tuple[int, int], "Meaning"]
"""By start and end of the evidence."""
MOST_BYTES = 1 << 20
BY_CONCEPTS = ("classifier.concepts.", "classifier.decoded.concepts.")


def by_concepts(item: Mapping[str, Any]) -> bool:
    """Whether words of another language gave this evidence."""
    return str(item.get("pattern_id")).startswith(BY_CONCEPTS)


def meanings(
    evidence: Sequence[Mapping[str, Any]], text: bytes, ways: Sequence[Reading], concepts: Concepts | None
) -> Meanings:
    """What those of ``evidence`` that rest on words of other languages mean in ``text``, as it was read in ``ways``;
    empty without ``concepts``."""
    items = [item for item in evidence if by_concepts(item)]
    if concepts is None or not items:
        return {}
    from aimds.detect.concepts.meaning import meaning

    out = {}
    for item in items:
        start, end = item["start"], item["end"]
        read = read_as(start, end, text, ways)
        found = meaning(concepts, text[start:end] if read is None else read[1].encode("utf-8", "surrogatepass"))
        if found is not None:
            out[start, end] = found
    return out


def meanings_as_shipped(
    evidence: Sequence[Mapping[str, Any]], text: bytes, ways: Sequence[Reading] | None = None
) -> Meanings:
    """`meanings` by the concepts that are shipped, for verdicts that were kept, by whomever they were written: evidence
    that does not lie in ``text`` is left out, and of a text over MOST_BYTES nothing is told. ``ways``: the
    `readings` of ``text``, where they are at hand."""
    if not text or len(text) > MOST_BYTES:
        return {}
    mine = [item for item in evidence if by_concepts(item) and _lies_in(text, item)]
    return meanings(mine, text, readings(text) if ways is None else ways, _shipped()) if mine else {}


def _lies_in(text: bytes, item: Mapping[str, Any]) -> bool:
    start, end = item.get("start"), item.get("end")
    return isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)


@cache
def _shipped() -> Concepts | None:
    from aimds.detect.classifier import Classifier

    return Classifier.load().concepts
