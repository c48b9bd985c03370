"""Sessions at risk: the conversations that most deserve a look, each with its scores turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from aimds.jobs.report.verdict_files import DATETIME, VerdictFile, stream
from aimds.schema import SESSION_ACTIONS

KEY = ["tenant", "session_id"]
"""A session is known by its id within its tenant."""
EXACT_SESSIONS = 4_000_000
"""Distinct sessions counted exactly (8 bytes each); beyond, the count stays there and says so."""
_MOST_CANDIDATES = 500_000
_MOST_POINTS = 60
MOST_TURNS = 50_000
"""Turns that are followed of one session."""
_PENDING_ROWS = 200_000


Key = tuple[str | None, str]
"""Tenant and session id."""


@dataclass(frozen=True, slots=True)
class SessionRisk:
    """One session with caught turns."""

    session_id: str
    tenant: str | None
    turns: int
    caught: int
    max_score: float
    session_score: float | None
    session_action: str
    first: datetime | None
    last: datetime | None
    threats: dict[str, int]
    """Threat types of the caught turns, most frequent first."""
    scores: list[float | None]
    """Score per turn, oldest first; longer sessions keep the maximum of each of ``_MOST_POINTS`` stretches."""
    actions: list[str]
    """Action per point of ``scores``: the one of the turn with that score."""
    whole: bool
    """False where there were more than MOST_TURNS turns: the figures are those of the first ones in the files."""


class Candidates:
    """Collects sessions with a caught turn. Memory: the distinct session hashes and at most 500,000 candidates.

    Order: session action, session score, then the sum of the scores of the caught turns (many weak hits outrank one),
    then tenant and id.
    """

    def __init__(self) -> None:
        self._hashes: list[pl.Series] = []
        self._pending = 0
        self.exact = True
        self._frame: pl.DataFrame | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Take in one batch of verdicts (tenant, session_id, action, session_action, score, session_score)."""
        named = frame.filter(pl.col("session_id").is_not_null())
        if not named.height:
            return
        self._note(named.select(key=pl.struct(KEY))["key"].unique().hash(seed=0))
        rank = pl.col("session_action").replace_strict(
            list(SESSION_ACTIONS), [0, 1, 2], default=0, return_dtype=pl.Int8
        )
        fresh = (
            named.filter(pl.col("action") != "allow")
            .group_by(KEY)
            .agg(
                rank=rank.max(),
                session_score=pl.col("session_score").max(),
                weight=pl.col("score").cast(pl.Float64).sum(),
            )
        )
        if self._frame is not None:
            both = pl.concat([self._frame, fresh]).group_by(KEY)
            fresh = both.agg(pl.col("rank").max(), pl.col("session_score").max(), pl.col("weight").sum())
        self._frame = fresh
        if fresh.height > _MOST_CANDIDATES:
            self._frame = self._sorted().head(_MOST_CANDIDATES // 2)

    def _note(self, hashes: pl.Series) -> None:
        if not self.exact:
            return
        self._hashes.append(hashes)
        self._pending += len(hashes)
        if self._pending > 1_000_000:
            merged = pl.concat(self._hashes).unique()
            self._hashes, self._pending = [merged], 0
            self.exact = len(merged) <= EXACT_SESSIONS

    @property
    def sessions(self) -> int:
        """Distinct sessions seen (a floor when not ``exact``)."""
        return pl.concat(self._hashes).n_unique() if self._hashes else 0

    def _sorted(self) -> pl.DataFrame:
        assert self._frame is not None
        by = [pl.col("rank"), pl.col("session_score").fill_null(-1), pl.col("weight").round(6), *map(pl.col, KEY)]
        return self._frame.sort(by, descending=[True, True, True, False, False])

    def top(self, n: int) -> list[Key]:
        """The ``n`` sessions most at risk, worst first."""
        return [] if self._frame is None else self._sorted().head(n).select(KEY).rows()


def follow(files: Sequence[VerdictFile], sessions: Sequence[Key]) -> list[SessionRisk]:
    """The turns of ``sessions``, in their order; turns by time, then number, then place.

    At most MOST_TURNS turns of a session are followed, those met first.
    """
    if not sessions:
        return []
    columns = (*KEY, "turn", "ts", "action", "session_action", "threat_type", "score", "session_score")
    wanted = pl.DataFrame(list(sessions), schema=dict.fromkeys(KEY, pl.String), orient="row")
    parts: list[pl.DataFrame] = []
    pending = 0
    for file in files:
        for frame in stream(file, columns):
            found = frame.join(wanted, on=KEY, how="semi", nulls_equal=True, maintain_order="left")
            found = found.with_columns(DATETIME)
            if found.height:
                parts.append(found)
                pending += found.height
            if pending > _PENDING_ROWS:
                parts, pending = [_first_turns(parts)], 0
    split = dict(_first_turns(parts).group_by(KEY)) if parts else {}
    return [_risk(key, split[key]) for key in sessions if key in split]


def _first_turns(parts: list[pl.DataFrame]) -> pl.DataFrame:
    # One turn more than is followed shows that there are more.
    return pl.concat(parts).group_by(KEY, maintain_order=True).head(MOST_TURNS + 1)


def _risk(key: Key, found: pl.DataFrame) -> SessionRisk:
    turns = found.head(MOST_TURNS).sort("ts", "turn", nulls_last=True, maintain_order=True)
    caught = turns.filter(pl.col("action") != "allow")
    threats = sorted(caught["threat_type"].value_counts().iter_rows(), key=lambda item: (-item[1], item[0]))
    times = turns["ts"].drop_nulls()
    points = _points(list(zip(turns["score"].to_list(), turns["action"].to_list(), strict=True)))
    worst = max(
        turns["session_action"].to_list(), key=lambda a: SESSION_ACTIONS.index(a) if a in SESSION_ACTIONS else 0
    )
    return SessionRisk(
        session_id=key[1],
        tenant=key[0],
        turns=turns.height,
        caught=caught.height,
        max_score=max((score for score in turns["score"].to_list() if score is not None), default=0.0),
        session_score=max((score for score in turns["session_score"].to_list() if score is not None), default=None),
        session_action=worst or "none",
        first=times[0] if len(times) else None,
        last=times[-1] if len(times) else None,
        threats=dict(threats),
        scores=[score for score, _ in points],
        actions=[action for _, action in points],
        whole=found.height <= MOST_TURNS,
    )


def _points(turns: list[tuple[float | None, str]]) -> list[tuple[float | None, str]]:
    if len(turns) <= _MOST_POINTS:
        return turns
    step = len(turns) / _MOST_POINTS
    slices = [turns[int(i * step) : int((i + 1) * step)] for i in range(_MOST_POINTS)]
    return [max(part, key=lambda turn: -1.0 if turn[0] is None else turn[0]) for part in slices]
