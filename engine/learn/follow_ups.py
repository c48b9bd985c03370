"""What happened after a draw as a reward, where nobody decided: what a session did next, and what users appealed.

A follow-up proves nothing by itself: who is refused may go, whether attacker or not, and a user may send a refused
question again. So its meaning is taken from people: of the draws with the same follow-up after the same action that
were decided, so many were attacks. Under `LEAST` of these it means nothing. Its reward is that of both labels, weighed
so.

Whoever sends traffic can make follow-ups, so they never outvote people: one counts `WEIGHT` of a decision, all of one
action in one cell (threat type, own action of the policy) at most `SHARE` of the decisions there, and no session,
sender, tenant or source of appeals has more than its cap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.learn.draws import Draw, Key
from aimds.learn.responses import REWARDS
from aimds.schema import ACTIONS, LABELS

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
APPEAL: Final = "appeal"
WEIGHT: Final = 0.25
SHARE: Final = 0.5
LEAST: Final = 20
NEEDED: Final = ("request_id", "source")


@dataclass(frozen=True, slots=True)
class Caps:
    """At most so many follow-ups of one session, sender (and tenant), tenant, or source of appeals."""

    session: int = 1
    sender: int = 50
    tenant: int = 500
    source: int = 5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ConfigError(f"caps.{name}", value, "a whole number of at least 1")


@dataclass(frozen=True, slots=True)
class FollowUps:
    """N rewards: codes ``threat``, ``own`` and ``action`` int64, ``reward`` and ``weight`` float64, all (N,).
    ``meanings``: by follow-up and action the share of attacks that people found · ``over``: how many each cap left
    out · ``unknown``: how many have a follow-up whose meaning is not known."""

    threat: Ints
    own: Ints
    action: Ints
    reward: F64
    weight: F64
    meanings: Mapping[tuple[str, str], float]
    over: Mapping[str, int]
    unknown: int


def appeals(path: Path) -> dict[Key, str]:
    """Who appealed against which answer: by tenant and request id the ``source``, from a Parquet file with the columns
    request_id, source and, where there are tenants, tenant. Of several appeals against one the first counts.

    Raises:
        DataError: it cannot be read.
        SchemaError: a column is missing or holds no text.
    """
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read: {error}") from error
    columns = {}
    for name in (*NEEDED, "tenant"):
        if name not in found.column_names:
            if name in NEEDED:
                raise SchemaError(name, "missing; these are no appeals")
            columns[name] = [None] * found.num_rows
            continue
        try:
            columns[name] = found.column(name).cast(pa.string()).to_pylist()
        except pa.ArrowException as error:
            raise SchemaError(name, f"cannot become string: {error}") from error
        if name in NEEDED and None in columns[name]:
            raise SchemaError(name, "is null, which it must not be", row=columns[name].index(None))
    out: dict[Key, str] = {}
    for request, source, tenant in zip(*columns.values(), strict=True):
        out.setdefault((tenant or "", request), source)
    return out


def rewards(
    draws: Sequence[Draw],
    said: Mapping[Key, bool],
    appealed: Mapping[Key, str] | None = None,
    caps: Caps | None = None,
) -> FollowUps:
    """The follow-ups of the ``draws`` that nobody decided; ``said``: by tenant and request id whether people found an
    attack; ``appealed``: as `appeals` gives them."""
    appealed = appealed or {}
    meanings = _meanings(draws, said, appealed)
    limits, over, used = asdict(caps or Caps()), Counter[str](), Counter[tuple[str, object]]()
    unknown, kept = 0, []
    for draw in draws:
        kind = _kind(draw, appealed)
        if kind is None or draw.key in said:
            continue
        belief = meanings.get((kind, ACTIONS[draw.action]))
        if belief is None:
            unknown += 1
            continue
        tenant = draw.key[0]
        sources: list[tuple[str, object]] = [("tenant", tenant), ("sender", (tenant, draw.sender))]
        if draw.session is not None:
            sources.append(("session", (tenant, draw.session)))
        if kind == APPEAL:
            sources.append(("source", (tenant, appealed[draw.key])))
        full = next((name for name, whose in sources if used[name, whose] >= limits[name]), None)
        if full is not None:
            over[full] += 1
            continue
        used.update(sources)
        kept.append((draw.threat, draw.own, draw.action, _worth(draw.action, belief)))
    threat, own, action, worth = zip(*kept, strict=True) if kept else ((), (), (), ())
    codes = [np.array(column, np.int64) for column in (threat, own, action)]
    weight = _weights(list(zip(threat, own, action, strict=True)), draws, said)
    return FollowUps(codes[0], codes[1], codes[2], np.array(worth, np.float64), weight, meanings, dict(over), unknown)


def _kind(draw: Draw, appealed: Mapping[Key, str]) -> str | None:
    return APPEAL if draw.key in appealed else draw.then


def _meanings(
    draws: Sequence[Draw], said: Mapping[Key, bool], appealed: Mapping[Key, str]
) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for draw in draws:
        kind = _kind(draw, appealed)
        if kind is not None and draw.key in said:
            found[kind, ACTIONS[draw.action]].append(said[draw.key])
    # The rule of succession: no follow-up is ever sure.
    return {place: (sum(one) + 1) / (len(one) + 2) for place, one in found.items() if len(one) >= LEAST}


def _worth(action: int, belief: float) -> float:
    attack, benign = (REWARDS[label][ACTIONS[action]] for label in LABELS)
    return belief * attack + (1 - belief) * benign


def _weights(cells: Sequence[tuple[int, int, int]], draws: Sequence[Draw], said: Mapping[Key, bool]) -> F64:
    decided = Counter((draw.threat, draw.own, draw.action) for draw in draws if draw.key in said)
    count = Counter(cells)
    return np.array([min(WEIGHT, SHARE * decided[cell] / count[cell]) for cell in cells], np.float64)
