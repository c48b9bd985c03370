"""A family in figures and words: its rows counted, its texts chosen and masked, its signature drafted."""

from __future__ import annotations

import numpy as np

from aimds.analyze.campaigns import Families
from aimds.detect.pii import Pii
from aimds.jobs.campaigns.distinct import Chosen
from aimds.jobs.campaigns.drafts import MINED_FROM, Asked
from aimds.jobs.campaigns.findings import Family, Sample
from aimds.jobs.campaigns.masking import masked
from aimds.jobs.campaigns.tally import Figures
from aimds.jobs.report import timeline
from aimds.printable import counted

SAMPLES = 6
_HOUR_US = 3_600_000_000


def described(
    name: str,
    number: int,
    figures: Figures,
    chosen: Chosen,
    families: Families,
    pii: Pii | None,
) -> tuple[Family, Asked]:
    """The family ``number`` of ``families``, called ``name``, without a draft, and what to draft from; ``pii`` finds
    what is masked, None masks nothing."""
    threat = next(iter(figures.threats), "none")
    members = np.flatnonzero(families.family == number)
    originals = members[families.original[members] == members]
    medoid = int(families.medoid[number])
    # The medoid first, then those farthest from one another in closeness: what the family has in common, and its edges.
    near = originals[np.lexsort((originals, -families.closeness[originals]))]
    order = [medoid, *(one for one in near.tolist() if one != medoid)]
    picked = list(dict.fromkeys(order[round(k)] for k in np.linspace(0, len(order) - 1, SAMPLES)))
    mined = list(dict.fromkeys([*picked, *order]))[:MINED_FROM]
    written = [chosen.written[one] for one in mined]
    shown = masked(written, pii) if pii is not None else [*written]
    text = {one: None if raw is None else raw.decode("utf-8", "replace") for one, raw in zip(mined, shown, strict=True)}
    asked = Asked(
        name,
        threat,
        [chosen.written[one] for one in dict.fromkeys([*order, *members.tolist()])],
        [one for one in text.values() if one],
    )
    rows_of = np.bincount(np.searchsorted(originals, families.original[members]), weights=chosen.rows[members])
    family = Family(
        id=name,
        threat=threat,
        rows=figures.rows,
        texts=len(members),
        wordings=len(originals),
        tenants=figures.tenants,
        sessions=figures.sessions,
        users=figures.users,
        top_tenants=figures.top_tenants,
        threats=figures.threats,
        actions=figures.actions,
        channels=figures.channels,
        first=None if figures.first is None else timeline.moment(figures.first),
        last=None if figures.last is None else timeline.moment(figures.last),
        per_day=_per_day(figures),
        counts=figures.counts,
        spread=round(float(families.spread[number]), 4),
        medoid=text[medoid],
        samples=[
            Sample(
                text[one],
                int(rows_of[int(np.searchsorted(originals, one))]),
                round(float(families.closeness[one]), 4),
            )
            for one in picked
        ],
    )
    return family, asked


def _per_day(figures: Figures) -> float | None:
    if figures.first is None or figures.last is None or figures.last - figures.first < _HOUR_US:
        return None
    return round(figures.rows * timeline.DAY_US / (figures.last - figures.first), 2)


def about(family: Family) -> list[str]:
    """What a file with the draft of ``family`` says of it."""
    draft = family.draft
    assert draft is not None
    when = f", {family.first:%Y-%m-%d} to {family.last:%Y-%m-%d}" if family.first and family.last else ""
    spared = f", none of {draft.spared} allowed ones" if draft.spared else ""
    return [
        f"Draft for {family.id}: {counted(family.rows, 'row')} of {counted(family.tenants, 'tenant')}{when}.",
        f"Found {draft.reached} of {draft.tried} of its texts{spared}.",
        "Read it, try it with aimds hunt --pattern, then add it with aimds patterns add.",
    ]
