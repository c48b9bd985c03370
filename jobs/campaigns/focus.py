"""What of a text is compared: all of a short one, the strongest evidence of a long one, decoded where encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimds.detect.normalize import normalize
from aimds.detect.normalize.views import Views

SHORT_BYTES = 600
"""Up to this long a text is compared whole."""
LEAST_BYTES, AROUND = 200, 60
"""Of a longer one at least so many bytes, and so many on either side of the evidence."""
MOST_SAID = 1200
"""Folded bytes that are kept of a stretch, however much was decoded from it."""
LONGEST_WORD = 200
NARROW = 24
"""Evidence shorter than this is too little to compare by."""


def stretch(text: bytes, evidence: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """The bytes of ``text`` that are compared, end exclusive; ``evidence`` as in VERDICTS.

    Of the evidence that is at least half as strong as the strongest, the narrowest tells most of the attack and least
    of the document around it.
    """
    length = len(text)
    if length <= SHORT_BYTES:
        return 0, length
    known = [
        (int(item["start"]), min(int(item["end"]), length), float(item["score"] or 0.0))
        for item in evidence
        if item.get("start") is not None and item.get("end") is not None
    ]
    known = [one for one in known if one[0] >= 0 and one[1] - one[0] >= NARROW]
    if not known:
        return 0, _border(text, SHORT_BYTES)
    strong = max(score for _, _, score in known) / 2
    start, end, _ = min((one for one in known if one[2] >= strong), key=lambda one: (one[1] - one[0], one[0]))
    low, high = start - AROUND, end + AROUND
    spare = max(0, LEAST_BYTES - (high - low))
    low = max(0, low - spare // 2)
    high = min(length, max(high + spare // 2, low + LEAST_BYTES), low + SHORT_BYTES)
    return _border(text, low), _border(text, high)


def whole_words(text: bytes, low: int, high: int) -> tuple[int, int]:
    """``low`` and ``high`` moved inwards so that neither cuts an ASCII word: half a secret is not known for one.

    A word that goes on for more than LONGEST_WORD bytes is cut: it is a payload rather than a key.
    """
    after, before = low, high
    while low and after < high and _printed(text[after - 1]) and _printed(text[after]):
        after += 1
    while high < len(text) and before > low and _printed(text[before - 1]) and _printed(text[before]):
        before -= 1
    after = after if after - low <= LONGEST_WORD else low
    before = before if high - before <= LONGEST_WORD else high
    return (after, before) if after < before else (low, high)


def _printed(byte: int) -> bool:
    return 0x20 < byte < 0x7F


def said(texts: Sequence[bytes]) -> list[bytes]:
    """What each stretch says, folded: the deepest of what was decoded from at least half of it, else itself."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    views = normalize(np.frombuffer(b"".join(texts), np.uint8), offsets)
    chosen = list(range(len(texts)))
    for view in range(len(texts), len(views.rows)):
        row = int(views.rows[view])
        if 2 * _reach(views, view) >= len(texts[row]) and views.depths[view] > views.depths[chosen[row]]:
            chosen[row] = view
    starts = views.offsets[chosen].tolist()
    ends = np.minimum(views.offsets[np.array(chosen, np.int64) + 1], views.offsets[chosen] + MOST_SAID).tolist()
    return [views.values[a:b].tobytes().strip() for a, b in zip(starts, ends, strict=True)]


def _reach(views: Views, view: int) -> int:
    low, high = int(views.offsets[view]), int(views.offsets[view + 1])
    return int(views.ends[low:high].max() - views.starts[low:high].min()) if low < high else 0


def _border(text: bytes, position: int) -> int:
    """``position`` moved back to the start of the UTF-8 character it falls into (at most three bytes)."""
    for at in range(position, max(position - 4, 0), -1):
        if at >= len(text) or text[at] & 0xC0 != 0x80:
            return at
    return position if position > 3 else 0
