"""What a text must hold before a pattern is tried on it: an anchor, a word of its context, digits of a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.anchors import Hits
from aimds.detect.pii.identifiers import Pattern
from aimds.detect.triage import FEATURES

Flags = npt.NDArray[np.bool_]


class Conditions:
    """The conditions of P patterns as tables.

    Args:
        patterns: P patterns.
        anchors: bool (P, literals), which literals are anchors of a pattern.
        contexts: bool (G, literals), which belong to a context.
        groups: number of each context by name.
    """

    def __init__(self, patterns: Sequence[Pattern], anchors: Flags, contexts: Flags, groups: Mapping[str, int]) -> None:
        needs = [alternative for pattern in patterns for alternative in pattern.needs]
        context = [groups[p.context] if p.context and not p.bare else -1 for p in patterns]
        self._table = (
            np.array(needs, np.int32).reshape(-1, len(FEATURES)),
            np.cumsum([0, *(len(p.needs) for p in patterns)], dtype=np.int64),
            np.array([bool(p.anchors) for p in patterns], np.bool_),
            np.array(context, np.int64),
            np.ascontiguousarray(anchors.T),
            np.ascontiguousarray(contexts.T),
        )
        every = np.ones(len(patterns), np.bool_)
        self._tried = {False: every, True: np.array([p.folded for p in patterns], np.bool_)}

    def candidates(self, features: npt.NDArray[np.int32], hits: Hits, *, folded: bool) -> list[tuple[int, int]]:
        """Pairs of a pattern and a text worth trying, in order of pattern and text.

        Args:
            features: int32 (B, FEATURES) from `aimds.detect.triage.triage`.
            hits: of the literals in the same texts.
            folded: only patterns that are tried on folded text.
        """
        tried = self._tried[folded]
        return [
            (number, text) for number, text in _able(features, tried, *self._table, hits.text, hits.literal).tolist()
        ]


@njit(cache=True, nogil=True)
def _able(  # type: ignore[no-untyped-def]
    features, tried, needs, bounds, has_anchors, context, anchors, contexts, hit_text, hit_literal
):
    # Pattern and text of each pair, int64 (C, 2). A pattern without anchor and context is tried where the text has any
    # of the features.
    patterns, texts = len(bounds) - 1, len(features)
    anchored = np.zeros((patterns, texts), np.bool_)
    named = np.zeros((contexts.shape[1], texts), np.bool_)
    for k in range(len(hit_text)):
        text, literal = hit_text[k], hit_literal[k]
        for p in range(patterns):
            anchored[p, text] |= anchors[literal, p]
        for g in range(contexts.shape[1]):
            named[g, text] |= contexts[literal, g]
    some = np.zeros(texts, np.bool_)
    for t in range(texts):
        for f in range(features.shape[1]):
            some[t] |= features[t, f] != 0
    able = np.zeros((patterns, texts), np.bool_)
    for p in range(patterns):
        if not tried[p]:
            continue
        for t in range(texts):
            if has_anchors[p] or context[p] >= 0:
                fits = (not has_anchors[p] or anchored[p, t]) and (context[p] < 0 or named[context[p], t])
            else:
                fits = some[t]
            if fits and bounds[p] < bounds[p + 1]:
                fits = False
                for k in range(bounds[p], bounds[p + 1]):
                    enough = True
                    for f in range(features.shape[1]):
                        enough &= features[t, f] >= needs[k, f]
                    fits |= enough
            able[p, t] = fits
    out = np.empty((able.sum(), 2), np.int64)
    pair = 0
    for p in range(patterns):
        for t in range(texts):
            if able[p, t]:
                out[pair, 0], out[pair, 1] = p, t
                pair += 1
    return out
