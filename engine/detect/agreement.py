"""What classifier, patterns and signatures say of one window together, in texts longer than ordinary ones.

In a document of 100 KB each stage finds something unusual somewhere; that all find it in the same place is rare. A
window's p-values are taken together by Fisher's method (1932), as if the stages were independent on ordinary text; the
false alarms that follow are in docs/design/0007.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from aimds.detect.evidence import Evidence
from aimds.detect.features import Windows, first_best
from aimds.detect.normalize import Views
from aimds.detect.tail import Tail

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TORN = "adversarial_suffix"
"""Torn text looks like an attack to the heads as well: signatures of its shape say nothing beside them."""


def strongest(
    tails: Mapping[str, Tail],
    views: Views,
    pieces: Windows,
    chosen: Rows,
    like: F64,
    margin: F32,
    found: Sequence[Evidence],
    rows: int,
) -> tuple[F64, Rows]:
    """The least p-value of a window of each of B rows and that window, float64 (B,) and int64 (B,).

    1 and 0 for a row none of whose ``chosen`` windows holds the words of a pattern or a signature.

    Args:
        chosen: int64 (K,), windows that are looked at.
        like: float64 (K,), p-value of their reading like an attack.
        margin: float32 (K,), their best pattern's margin, -1 for none.
        found: what the signatures found in all rows.
    """
    known = np.where(margin <= -1.0, 1.0, tails["patterns"].p_value(margin))
    strength = _strength(views, pieces, chosen, found)
    signed = np.where(strength <= 0.0, 1.0, tails["rules"].p_value(strength))
    p = np.where((known == 1.0) & (signed == 1.0), 1.0, product_of_three(like, known, signed))
    with np.errstate(divide="ignore"):
        rare = (-np.log(p)).astype(np.float32)
    top, best = first_best(rare, pieces.row[chosen], rows)
    return np.minimum(np.exp(-top.astype(np.float64)), 1.0), chosen[best]


def product_of_three(p: F64, q: F64, r: F64) -> F64:
    """p-value of the product of three independent ones, float64 of any one shape (Fisher 1932)."""
    product = p * q * r
    with np.errstate(divide="ignore", invalid="ignore"):
        log = -np.log(product)
        return np.where(product == 0.0, product, np.minimum(product * (1.0 + log + log * log / 2.0), 1.0))


def _strength(views: Views, pieces: Windows, chosen: Rows, found: Sequence[Evidence]) -> F32:
    # The strongest signature that overlaps each of the chosen windows in the text as sent.
    out = np.zeros(len(chosen), np.float32)
    row = pieces.row[chosen]
    wanted = set(np.unique(row).tolist())
    hits = [item for item in found if item.row in wanted and item.threat != TORN]
    if not hits:
        return out
    size = pieces.offsets[chosen + 1] - pieces.offsets[chosen]
    first = views.offsets[pieces.view[chosen]] + pieces.base[chosen]
    start, end = views.starts[first], views.ends[first + np.maximum(size, 1) - 1]
    for item in hits:
        here = (row == item.row) & (start < item.end) & (end > item.start)
        out[here] = np.maximum(out[here], np.float32(item.score))
    return out
