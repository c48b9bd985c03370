"""What words in another language mean in English, for whoever reads a verdict."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aimds import kernels
from aimds.detect.concepts.heads import REACH, Concepts
from aimds.detect.concepts.lexicon import MAIN
from aimds.detect.normalize import normalize
from aimds.kernels.pairs import LONE

MOST_PAIRS = 2


class Meaning(NamedTuple):
    """``words``: the English names of the concepts in the order of the text, in ``language`` (a code) · ``pairs`` of
    them that spoke most for an attack, the strongest first; none where no pair did."""

    language: str
    words: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @property
    def told(self) -> str:
        """The words on one line, the language before them."""
        return f"{self.language}: {' … '.join(self.words)}"


def meaning(concepts: Concepts, text: bytes, head: int = 0) -> Meaning | None:
    """What ``text`` in UTF-8 says in another language than English, its pairs by their weight in ``head`` (0: attack);
    None where it is English or its words are unknown."""
    views = normalize(np.frombuffer(text, np.uint8), np.array([0, len(text)], np.int64))
    found = concepts.lexicon.read(views.values, views.offsets[:2].astype(np.int64))
    language = concepts.lexicon.languages[found.lang[0]] if found.lang[0] >= 0 else MAIN
    if language == MAIN or not len(found.concept):
        return None
    names = [name.replace("_", " ") for name in concepts.lexicon.concepts]
    _, indices, _ = kernels.concept_pairs(found.concept, found.offsets, REACH)
    indices = indices[indices & 255 != LONE]
    weight = concepts.weights[indices, head] * concepts.scale[head] * concepts.idf[indices]
    best = [at for at in np.argsort(-weight, kind="stable")[:MOST_PAIRS] if weight[at] > 0]
    pairs = []
    order = found.concept.tolist()
    for feature in indices[best].tolist():
        first, second = sorted((feature >> 8, feature & 255), key=order.index)
        pairs.append((names[first], names[second]))
    return Meaning(language, tuple(names[at] for at in order), tuple(pairs))
