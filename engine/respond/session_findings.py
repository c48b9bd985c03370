"""What raised a row though it lies in its session: as evidence and threat type of the verdict, and in plain words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.respond.scored import F32, RANK, Codes, codes
from aimds.respond.sessions import HELD, Consequences
from aimds.schema import EVIDENCE, VERDICTS, enum
from aimds.taxonomy import CODES, THREATS, get
from aimds.verdicts import SESSIONS, named_by_session

SIGNS: Final = {
    "peak": "one turn of the session stands out",
    "rise": "the turns of the session become ever more unusual",
    "shift": "from one turn on the session stays more unusual",
    "cusum": "the session stays more unusual than it began",
    "spread": "the session swings between ordinary and unusual turns",
    "mean": "the session is unusual throughout",
    "rephrase": "what was refused in the session is asked again",
    "split": "turns of the session make a payload in pieces",
}
"""What a session score may rest on most, and how that is said, in the order of their codes."""
UNSIGNED: Final = -1
"""Stands for a code where nobody says what the score rests on."""
_OTHERS: Final = {
    "score": "the session as a whole is unusual",
    "quarantine": "the session is in quarantine",
    "rate_limit": "the session, or its sender, is limited and sends more",
}
_SCORED: Final = (*(f"{SESSIONS}.{name}" for name in SIGNS), f"{SESSIONS}.score")
_POLICY: Final = f"{SESSIONS}.policy."
_NAME: Final = CODES["multi_turn"]
_IMPACT: Final = get("multi_turn").impact
Found = Mapping[int, Sequence[tuple[str, float]]]
"""By row: ids and strengths of what raised it."""


def told(pattern_id: str) -> str | None:
    """What evidence says of a session, in words; None where ``pattern_id`` is none of these."""
    if pattern_id.startswith(_POLICY):
        return f"the session breaks the policy {pattern_id.removeprefix(_POLICY)}"
    stage, _, rest = pattern_id.partition(".")
    return (SIGNS | _OTHERS).get(rest) if stage == SESSIONS else None


def found(
    consequences: Consequences,
    rows: npt.NDArray[np.int64],
    who: npt.NDArray[np.intp],
    before: tuple[Codes, Codes],
    session_score: F32,
    signs: Codes | None,
    violations: pa.ListArray,
) -> Found:
    """What raised ``rows`` int64, of B, from the actions and session actions ``before``, int8 (B,) each: the score of
    the session, then each policy that asks for more than it and the row do.

    ``who``, ``session_score``, ``violations``: as `Consequences.of` takes them · ``signs`` int8 (B,): what each score
    rests on most, places in SIGNS or UNSIGNED.
    """
    out = {}
    listed = violations.take(pa.array(rows)).to_pylist()
    for row, names in zip(rows.tolist(), listed, strict=True):
        rank, held = int(RANK[before[0][row]]), int(before[1][row])
        items: list[tuple[str, float]] = []
        score = float(session_score[row])
        action, session = consequences.of_score(int(who[row]), score)
        if RANK[action] > rank or session > held:
            items.append((_SCORED[UNSIGNED if signs is None else signs[row]], score))
            rank, held = max(rank, int(RANK[action])), max(held, session)
        for name in names or ():
            action, session = consequences.of_policy(int(who[row]), name)
            if RANK[action] > rank or session > held:
                items.append((f"{SESSIONS}.{HELD[name]}" if name in HELD else _POLICY + name, 1.0))
        if items:
            out[row] = items
    return out


def columns(verdicts: pa.RecordBatch, raised: Found, unnamed: Collection[str]) -> dict[str, pa.Array]:
    """The columns of ``verdicts`` (VERDICTS) that ``raised`` changes: evidence, and where the row by itself shows no
    threat its type and severity. What rests on policies in ``unnamed`` alone is named nothing."""
    threat, severity = verdicts.column("threat_type"), verdicts.column("severity")
    named = codes(threat, THREATS, "threat_type").copy()
    strength = np.array(severity.to_numpy(zero_copy_only=False), np.float32)
    by_session = named_by_session(verdicts)
    quiet = {_POLICY + name for name in unnamed}
    for row, items in raised.items():
        telling = [score for name, score in items if name not in quiet]
        if telling and (named[row] == CODES["none"] or by_session[row]):
            named[row] = _NAME
            # A row that nobody could judge keeps its unknown severity.
            strength[row] = np.maximum(strength[row], np.float32(max(telling) * _IMPACT))
    return {
        "evidence": joined(verdicts.column("evidence"), _listed(verdicts.num_rows, raised)),
        "threat_type": enum(THREATS, named),
        "severity": pa.array(strength, pa.float32(), mask=severity.is_null().to_numpy(zero_copy_only=False)),
    }


def ids(verdicts: pa.RecordBatch) -> dict[int, list[str]]:
    """By row of ``verdicts``, the ids of what in its session raised it."""
    evidence = verdicts.column("evidence")
    items = pc.list_flatten(evidence)
    mine = pc.equal(pc.struct_field(items, "detector"), SESSIONS)
    out: dict[int, list[str]] = {}
    rows = pc.list_parent_indices(evidence).filter(mine).to_pylist()
    for row, name in zip(rows, pc.struct_field(items, "pattern_id").filter(mine).to_pylist(), strict=True):
        out.setdefault(row, []).append(name)
    return out


def _listed(rows: int, raised: Found) -> pa.ListArray:
    sizes = np.zeros(rows + 1, np.int32)
    for row, items in raised.items():
        sizes[row + 1] = len(items)
    flat = [item for row in sorted(raised) for item in raised[row]]
    nowhere = np.zeros(len(flat), np.int32)
    parts: list[Any] = [
        pa.array([SESSIONS] * len(flat), pa.string()),
        pa.array([name for name, _ in flat], pa.string()),
        *(pa.array(nowhere), pa.array(nowhere)),
        pa.array([score for _, score in flat], pa.float32()),
    ]
    items = pa.StructArray.from_arrays(parts, fields=list(EVIDENCE))
    return pa.ListArray.from_arrays(pa.array(np.cumsum(sizes, dtype=np.int32)), items)


def joined(own: pa.ListArray, more: pa.ListArray) -> pa.ListArray:
    """The evidence of B rows, ``own`` and after it ``more``; none where either is null."""
    sizes = [pc.fill_null(pc.list_value_length(one), 0).to_numpy(zero_copy_only=False) for one in (own, more)]
    rows = np.concatenate([np.repeat(np.arange(len(own)), size) for size in sizes])
    items = pa.concat_arrays([pc.list_flatten(own), pc.list_flatten(more)])
    ends = np.concatenate([[0], np.cumsum(sizes[0] + sizes[1])]).astype(np.int32)
    order = pa.array(np.argsort(rows, kind="stable"))
    return pa.ListArray.from_arrays(pa.array(ends), items.take(order)).cast(VERDICTS.field("evidence").type)
