"""What the words mean that a verdict names as evidence in another language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aimds.cli.readings import Reading, read_as

if TYPE_CHECKING:
    from aimds.detect.concepts import Concepts
    from aimds.detect.concepts.meaning import Meaning
    from aimds.verdicts import Verdict

Meanings = Mapping[tuple[int, int], "Meaning"]
"""By start and end of the evidence."""
BY_CONCEPTS = ("classifier.concepts.", "classifier.decoded.concepts.")


def by_concepts(item: Mapping[str, Any]) -> bool:
    """Whether words of another language gave this evidence."""
    return str(item["pattern_id"]).startswith(BY_CONCEPTS)


def meanings(verdict: Verdict, text: bytes, ways: Sequence[Reading], concepts: Concepts | None) -> Meanings:
    """What the evidence of ``verdict`` that rests on words of other languages means in ``text``, as it was read; empty
    without ``concepts``."""
    items = [item for item in verdict.evidence if by_concepts(item)]
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
