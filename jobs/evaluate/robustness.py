"""The suite `robustness`: how much of what is detected plainly is still detected when it is hidden, buried or cut up.

Every disguise is put on the same attacks, and on as many harmless rows of the reference file. A row keeps its channel,
and each disguise draws from a random stream of its own for each row, so that a row's figure does not hang on others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.jobs.evaluate.burial import SPLITTING, Documents, burying
from aimds.jobs.evaluate.disguise import CHARACTERS, ENCODINGS, Disguise
from aimds.jobs.evaluate.judging import Advance, Outcomes, Screens, join, screen
from aimds.jobs.evaluate.points import Points, rate
from aimds.jobs.evaluate.sample import Picked, packed

CHUNK_ROWS = 256
"""Rows hidden at a time: at 100 KB each they fill 26 MB."""


def disguises(harmless: Picked, points: Points) -> tuple[Disguise, ...]:
    """All of them. Documents are made of ``harmless`` texts that count at no column: a document of a thousand short
    texts would else hold some that do, and be detected with or without the attack."""
    quiet = np.ones(len(harmless), np.bool_)
    for column in points.columns:
        quiet &= ~points.hits(harmless.outcomes, column)
    calm = [text for text, kept in zip(harmless.texts, quiet.tolist(), strict=True) if kept]
    buried = burying(Documents(calm)) if calm else ()
    return (*ENCODINGS, *CHARACTERS, *buried, *SPLITTING)


def suite(
    screener: Screens,
    attacks: Picked,
    benign: Picked,
    points: Points,
    hidden_by: Sequence[Disguise],
    *,
    seed: int = 0,
    advance: Advance = lambda rows: None,
) -> list[dict[str, Any]]:
    """One row per disguise; ``advance`` is told the texts done, out of len(hidden_by) × (attacks + benign).

    Returns:
        dicts with name, group, n (attacks it fits), plain (of them detected as they are), kept (share of those that
        stay detected), benign (share of harmless texts that count when hidden so), all at the column ``at``, and
        ``columns``: plain, kept, benign and benign_plain (the same harmless texts as they are) at every column.
    """
    at = points.loosest
    out = []
    for disguise in hidden_by:
        shown, mine = _hidden(screener, attacks, disguise, seed, advance)
        calm, theirs = _hidden(screener, benign, disguise, seed, advance)
        before, quiet = attacks.outcomes.take(mine), benign.outcomes.take(theirs)
        columns = {}
        for column in points.columns:
            plain = points.hits(before, column)
            columns[column] = {
                "plain": rate(plain),
                "kept": rate(points.hits(shown, column)[plain]),
                "benign": rate(points.hits(calm, column)),
                "benign_plain": rate(points.hits(quiet, column)),
            }
        chosen = columns[at]
        out.append(
            {
                "name": disguise.name,
                "group": disguise.group,
                "n": len(mine),
                "plain": chosen["plain"]["hits"],
                "kept": chosen["kept"],
                "benign": chosen["benign"],
                "at": at,
                "failed": shown.failed + calm.failed,
                "columns": columns,
            }
        )
    return out


def _hidden(
    screener: Screens, sample: Picked, disguise: Disguise, seed: int, advance: Advance
) -> tuple[Outcomes, npt.NDArray[np.int64]]:
    rows = np.array([row for row, text in enumerate(sample.texts) if disguise.fits(text)], np.int64)
    advance(len(sample) - len(rows))
    parts = [_nothing()]
    for chunk in _chunks(rows):
        texts = [disguise.hide(sample.texts[row], Random(f"{seed}/{disguise.name}/{row}")) for row in chunk.tolist()]
        parts.append(screen(screener, packed(texts), sample.channel[chunk], advance))
    return join(parts), rows


def _chunks(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for first in range(0, len(rows), CHUNK_ROWS):
        yield rows[first : first + CHUNK_ROWS]


def _nothing() -> Outcomes:
    return Outcomes(np.zeros(0), np.zeros(0), np.zeros(0, object), 0)
