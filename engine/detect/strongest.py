"""What each stage says of a row: the strongest it found in any window of any view of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect import agreement, fusion, rowwise
from aimds.detect.classifier import ATTACK, FIRST_TYPE, HARMFUL, INDIRECT, TYPE_CODES, Classifier
from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows, highest
from aimds.detect.fusion import StageScores
from aimds.detect.normalize import Views
from aimds.detect.normalize.unwrap import KINDS
from aimds.detect.patterns import Bank, Matches
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS
from aimds.taxonomy import CODES, THREATS

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

NOTHING_PLAIN = 0.05
"""Above this p-value of the attack head the text as written shows nothing of what was found in a decoded view."""
HIDING = frozenset({
    "rot13", "caesar", "atbash", "reversed", "upside_down", "morse", "nato", "pig_latin", "tags", "variation_selectors",
    "ordinal", "braille", "rot47", "polybius", "bacon",
})  # fmt: skip
"""What a decoded view is made from that neither people nor programs write for its own sake (docs/design/0011)."""
_HIDES = np.array([kind in HIDING for kind in KINDS])
_FIRST_UNTRUSTED = min(CHANNELS.index(name) for name in UNTRUSTED_CHANNELS)
_HEADS = (ATTACK, INDIRECT, HARMFUL, FIRST_TYPE)


def combine(
    bank: Bank,
    classifier: Classifier,
    views: Views,
    pieces: Windows,
    logits: F32,
    matches: Matches,
    found: list[Evidence],
    channels: npt.NDArray[np.int8],
) -> tuple[StageScores, npt.NDArray[np.int64]]:
    """What each stage says of each of B rows, and the window with its highest attack score, int64 (B,).

    Args:
        views: of the rows, ``pieces`` their W windows, ``logits`` float32 (W, H) the classifier's of these.
        matches: of the ``bank`` in the windows.
        found: what rules found.
        channels: int8 (B,), index into `aimds.schema.CHANNELS`.
    """
    rows = len(views.flags)
    scores, units = np.empty((4, rows), np.float32), np.empty(rows)
    codes, marks, best = np.empty((2, rows), np.int8), np.empty((2, rows), np.bool_), np.empty(rows, np.int64)
    _strongest(
        logits, matches.margin, matches.pattern, bank.codes, pieces.row, pieces.view, views.depths, channels,
        _HEADS, _FIRST_UNTRUSTED, fusion.UNIT_WINDOWS, TYPE_CODES, scores, codes, marks, best, units,
    )  # fmt: skip
    attack, indirect, harmful, margin = scores
    type_code, pattern_code = codes
    decoded, untrusted = marks
    strengths = np.zeros((rows, len(THREATS)), np.float32)
    for item in found:
        code = CODES[item.threat]
        strengths[item.row, code] = max(strengths[item.row, code], item.score)
    tail = classifier.tails.get("attack")
    if tail is None:
        decoded[:] = False
    elif views.decoded and decoded.any():
        plain = np.flatnonzero(views.depths[pieces.view] == 0)
        written = highest(np.ascontiguousarray(logits[plain, ATTACK]), pieces.row[plain], rows)
        decoded &= tail.p_value(written) > NOTHING_PLAIN
    hidden = decoded & _HIDES[views.kinds[pieces.view[best]]] if rowwise.any_above(decoded, 0) else decoded
    local, contrast, local_code = None, None, None
    if tail is not None:
        local, contrast, local_code = _local(classifier, views, pieces, logits, matches.margin, found, untrusted, units)
    return StageScores(
        attack=attack,
        indirect=indirect,
        harmful=harmful,
        type_code=type_code,
        margin=margin,
        pattern_code=pattern_code,
        rules=strengths,
        decoded=decoded,
        hidden=hidden,
        untrusted=untrusted,
        units=units,
        local=local,
        contrast=contrast,
        local_code=local_code,
    ), best


def _local(
    classifier: Classifier,
    views: Views,
    pieces: Windows,
    logits: F32,
    margin: F32,
    found: list[Evidence],
    untrusted: npt.NDArray[np.bool_],
    units: F64,
) -> tuple[F64, F64, npt.NDArray[np.int8]]:
    # What the stages find together in one window of the rows that are longer than one text, how far it stands out from
    # the rest of its row, and that window's type.
    if not rowwise.any_above(units, 1.0):
        none = np.empty(len(units))
        none.fill(1.0)
        return none, none, np.zeros(len(units), np.int8)

    def read(logits: F32, owner: npt.NDArray[np.integer]) -> F64:
        scores = np.ascontiguousarray(logits[:, [ATTACK, INDIRECT]].T)
        return fusion.read_like(classifier.tails, scores[0], scores[1], untrusted[owner])

    def again(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], owner: npt.NDArray[np.int64]) -> F64:
        return read(classifier.score(values, offsets), owner)

    chosen = np.flatnonzero(units[pieces.row] > 1.0)
    # In training a row is judged by heads that never saw it, and the classifier has none of its own yet.
    whole = len(classifier.weights) == 1 << classifier.bits
    p, contrast, window = agreement.strongest(
        classifier.tails, views, pieces, chosen, read(logits[chosen], pieces.row[chosen]), margin[chosen], found,
        len(units), again if whole else None,
    )  # fmt: skip
    return p, contrast, TYPE_CODES[logits[window, FIRST_TYPE:].argmax(axis=1)]


@njit(cache=True, nogil=True)
def _strongest(  # type: ignore[no-untyped-def]
    logits, margin, pattern, pattern_codes, owner, view, depths, channels,
    heads, first_untrusted, unit, type_codes, scores, codes, marks, best, units,
):  # fmt: skip
    # Fills ``scores`` float32 (4, B): attack, indirect, harmful, margin; ``codes`` int8 (2, B): type and pattern;
    # ``marks`` bool (2, B): whether the best window is in a decoded view, whether the channel is untrusted; ``best``
    # and ``units``. What is not a number wins, so that a stage that broke is seen.
    attack, indirect, harmful, first_type = heads
    rows = len(best)
    nearest = np.zeros(rows, np.int64)
    scores[:] = -np.inf
    best[:] = 0
    units[:] = 0.0
    for w in range(len(owner)):
        row = owner[w]
        if logits[w, attack] > scores[0, row] or np.isnan(logits[w, attack]):
            scores[0, row], best[row] = logits[w, attack], w
        if logits[w, indirect] > scores[1, row] or np.isnan(logits[w, indirect]):
            scores[1, row] = logits[w, indirect]
        if logits[w, harmful] > scores[2, row] or np.isnan(logits[w, harmful]):
            scores[2, row] = logits[w, harmful]
        if margin[w] > scores[3, row] or np.isnan(margin[w]):
            scores[3, row], nearest[row] = margin[w], w
        if depths[view[w]] == 0:
            units[row] += 1.0
    for row in range(rows):
        at = best[row]
        kind = first_type
        for head in range(first_type, logits.shape[1]):
            if np.isnan(logits[at, head]):
                kind = head
                break
            if logits[at, head] > logits[at, kind]:
                kind = head
        codes[0, row] = type_codes[kind - first_type]
        near = pattern[nearest[row]]
        codes[1, row] = pattern_codes[near] if near >= 0 else 0
        marks[0, row] = depths[view[at]] > 0
        marks[1, row] = channels[row] >= first_untrusted
        units[row] = max(units[row] / unit, 1.0)
