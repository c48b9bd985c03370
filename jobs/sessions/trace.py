"""One session out of verdict files: its turns in order, what they show together, and where it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds import kernels
from aimds.analyze import dynamics
from aimds.analyze.attractors import LEAST, Attractors
from aimds.analyze.series import COLUMN, FEATURES, INPUTS, WINDOW, surprise
from aimds.analyze.session_model import SHARES, Parts, SessionModel
from aimds.errors import DataError
from aimds.jobs.report.verdict_files import clean, open_all
from aimds.moments import outside_years

MOST_TURNS: Final = 2000
LEAST_SHARE: Final = 1e-4
"""Below this a share of benign sessions is extrapolated further than they can bear out."""
COLUMNS: Final = (
    *("request_id", "session_id", "turn", "tenant", "ts", "channel", "action", "session_action", "threat_type"),
    *("score", "p_value", "evidence", "spans", "session_score", "attractor", "violations", "status", "error", "text"),
)


def share(p_value: float) -> str:
    """A share of benign sessions in two digits: 0.53, 0.0016, under 0.0001."""
    return f"{p_value:.2g}" if p_value >= LEAST_SHARE else f"under {LEAST_SHARE:.4f}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One row. ``surprise`` is -log10 of its p-value, None where it is no judged input; ``text`` only if the file has
    it; ``searched`` is False where nobody looked for personal data, so that ``spans`` says nothing."""

    request_id: str
    turn: int | None
    ts: datetime | None
    channel: str
    action: str
    threat_type: str
    score: float | None
    surprise: float | None
    session_score: float | None
    violations: list[str]
    evidence: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    status: str
    searched: bool
    text: str | None

    @property
    def shown(self) -> str | None:
        """The text with an asterisk for every byte of personal data; None where nobody looked for any."""
        if self.text is None or not self.searched:
            return None
        raw = bytearray(self.text.encode("utf-8", "replace"))
        for span in self.spans:
            raw[span["start"] : span["end"]] = b"*" * len(raw[span["start"] : span["end"]])
        return raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Motion:
    """What the surprises of all judged turns move on: a type of `aimds.analyze.attractors`, the ``share`` of the trees
    that say so, ``beats`` its surrogates (None where nobody looked), ``features`` by name, None where the series is too
    short or does not move."""

    kind: str
    share: float
    beats: bool | None
    features: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Trace:
    """A session. ``change`` is the place in ``turns`` where its level rises most, None for none; ``features`` are those
    of `kernels.session_series`; ``p_values`` those of each part that can be judged from scores alone;
    ``attractor`` is the one in the verdicts, ``motion`` that of the whole session. ``whole`` is False where there were
    more than MOST_TURNS turns."""

    session_id: str
    tenant: str | None
    turns: list[Turn]
    change: int | None
    features: dict[str, float]
    p_values: dict[str, float]
    session_score: float | None
    threshold: float
    session_action: str
    attractor: str | None
    motion: Motion
    files: list[str]
    whole: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON types only; times in ISO 8601, texts as `Turn.shown`."""
        plain = asdict(self)
        for turn, content in zip(self.turns, plain["turns"], strict=True):
            content["ts"] = content["ts"] and content["ts"].isoformat()
            content["text"] = turn.shown
        return plain


def find(paths: Sequence[str | Path], session_id: str, tenant: str | None = None) -> Trace:
    """The session ``session_id`` in the verdict files, folders and globs ``paths``.

    Raises:
        DataError: nothing to read, no such session, or several tenants have one of this id and none was named.
        SchemaError: a file that does not hold verdicts.
    """
    opened = open_all(paths)
    found = [_Found(file.path, *_places(file.path, session_id, tenant)) for file in opened]
    tenants = sorted({name for one in found for name in one.tenants})
    if not tenants:
        raise DataError(session_id, "no session of this id in these verdicts; aimds report lists sessions at risk")
    if tenant is None and len(tenants) > 1:
        raise DataError(session_id, f"sessions of {', '.join(tenants)} have this id; name one with --tenant")
    whole = sum(one.places.num_rows for one in found)
    if not whole:
        raise DataError(session_id, f"tenant {tenant!r} has no session of this id; {', '.join(tenants)} have")
    # The first turns, wherever in the files they stand: put in order before any row is read as a whole.
    chosen = _ordered(found)[:MOST_TURNS]
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for number in dict.fromkeys(file for file, _ in chosen):
        wanted = sorted(row for file, row in chosen if file == number)
        rows |= {(number, row): values for row, values in _rows(found[number].path, wanted)}
    files = [str(one.path) for one in found if one.places.num_rows]
    return _trace(session_id, [rows[place] for place in chosen], files, whole <= MOST_TURNS)


@dataclass(frozen=True, slots=True)
class _Found:
    """Of one file: number, turn and time of each row of the session, and every tenant that has one of this id."""

    path: Path
    places: pa.Table
    tenants: set[str]


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            yield from file.iter_batches(columns=present)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"damaged: {next(iter(str(error).splitlines()), '')}") from error


def _places(path: Path, session_id: str, tenant: str | None) -> tuple[pa.Table, set[str]]:
    kinds = {"row": pa.int64(), "turn": pa.int64(), "ts": pa.int64()}
    parts, tenants, first = [], set[str](), 0
    for batch in _batches(path, ("session_id", "tenant", "turn", "ts")):
        names = batch.schema.names
        if "session_id" not in names:
            break
        mine = pc.fill_null(pc.equal(batch.column("session_id").cast(pa.string()), session_id), False)
        rows = pc.indices_nonzero(mine)
        first, start = first + batch.num_rows, first
        if not len(rows):
            continue
        chosen = batch.take(rows)
        owner = chosen.column("tenant") if "tenant" in names else pa.nulls(len(rows), pa.string())
        owner = pc.fill_null(owner.cast(pa.string()), "")
        tenants |= set(pc.unique(owner).to_pylist())
        columns = {name: pa.nulls(len(rows), kind) for name, kind in kinds.items()}
        columns["row"] = pc.add(rows.cast(pa.int64()), start)
        if "turn" in names:
            columns["turn"] = chosen.column("turn").cast(pa.int64())
        if "ts" in names and pa.types.is_timestamp(chosen.column("ts").type):
            columns["ts"] = _time(chosen.column("ts")).cast(pa.int64())
        part = pa.table(columns)
        parts.append(part if tenant is None else part.filter(pc.equal(owner, tenant)))
    empty = pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
    return pa.concat_tables([empty, *parts]), tenants


def _time(column: pa.Array) -> pa.Array:
    return pc.if_else(outside_years(column), None, column).cast(pa.timestamp("us", tz="UTC"))


def _ordered(found: Sequence[_Found]) -> list[tuple[int, int]]:
    # By turn where every row has one, else by time where every row has one, else as they stand.
    table = pa.concat_tables([one.places for one in found]).combine_chunks()
    file = np.repeat(np.arange(len(found)), [one.places.num_rows for one in found])
    order = np.arange(table.num_rows)
    for name in ("turn", "ts"):
        if not table.column(name).null_count:
            order = np.argsort(table.column(name).to_numpy(), kind="stable")
            break
    row = table.column("row").to_numpy()
    return list(zip(file[order].tolist(), row[order].tolist(), strict=True))


def _rows(path: Path, wanted: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    first, places = 0, np.array(wanted, np.int64)
    for batch in _batches(path, COLUMNS):
        mine = places[(places >= first) & (places < first + batch.num_rows)]
        if len(mine):
            yield from zip(mine.tolist(), _plain(batch.take(pa.array(mine - first))), strict=True)
        first += batch.num_rows


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    columns = {}
    for name in COLUMNS:
        index = batch.schema.get_field_index(name)
        if index < 0:
            columns[name] = [None] * batch.num_rows
            continue
        column = batch.column(index)
        if name == "ts" and pa.types.is_timestamp(column.type):
            column = _time(column)
        elif name == "text":
            column = clean(column)
        columns[name] = column.to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _trace(session_id: str, rows: list[dict[str, Any]], files: list[str], whole: bool) -> Trace:
    judged = [k for k, row in enumerate(rows) if row["channel"] in INPUTS and row["p_value"] is not None]
    values = surprise(np.array([rows[k]["p_value"] for k in judged], np.float64))
    features = kernels.session_series(values, np.array([0, len(values)]))[0]
    model = SessionModel.load()
    # As a scan judges it: by the last turns.
    last = values[-WINDOW:]
    parts = Parts(kernels.session_series(last, np.array([0, len(last)])), np.array([len(last)]))
    place = int(features[COLUMN["change"]])
    shown = dict(zip(judged, values.tolist(), strict=True))
    scores = [row["session_score"] for row in rows if row["session_score"] is not None]
    actions = {row["session_action"] for row in rows}
    return Trace(
        session_id=session_id,
        tenant=rows[0]["tenant"],
        turns=[_turn(row, shown.get(k)) for k, row in enumerate(rows)],
        change=judged[place] if place else None,
        features=dict(zip(FEATURES, features.tolist(), strict=True)),
        p_values={name: float(p[0]) for name, p in model.part_p_values(parts).items() if name in SHARES},
        session_score=scores[-1] if scores else float(model.float_scores(parts)[0]) if len(values) else None,
        threshold=model.threshold(0.01),
        session_action=next((one for one in ("quarantine", "rate_limit") if one in actions), "none"),
        attractor=next((row["attractor"] for row in reversed(rows) if row["attractor"]), None),
        motion=_motion(values),
        files=files,
        whole=whole,
    )


def _motion(values: npt.NDArray[np.float64]) -> Motion:
    values = values[-dynamics.MOST :]
    bounds = np.array([0, len(values)])
    kind = Attractors.load().kinds(values, bounds)[0]
    features: dict[str, float | None] = {}
    if len(values) >= LEAST:
        found = dynamics.measured(values, bounds)[0].tolist()
        features = {name: v if np.isfinite(v) else None for name, v in zip(dynamics.FEATURES, found, strict=True)}
    return Motion(kind.name, kind.share, kind.beats, features)


def _turn(row: dict[str, Any], shown: float | None) -> Turn:
    names = ("request_id", "turn", "ts", "channel", "action", "score", "session_score", "text")
    kept: dict[str, Any] = {name: row[name] for name in names}
    kept |= {name: row[name] or [] for name in ("violations", "evidence", "spans")}
    threat, status = row["threat_type"] or "none", row["status"] or "ok"
    searched = row["spans"] is not None and status != "error" and "pii" not in (row["error"] or "")
    return Turn(**kept, threat_type=threat, status=status, searched=searched, surprise=shown)
