"""The work of a hunt: only the stages that its patterns or signatures need, and a row for each hit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import __version__, data
from aimds.detect.features import windows
from aimds.detect.normalize import KINDS, Limits, Views, normalize
from aimds.detect.patterns import SYNONYMS
from aimds.detect.pii import Pii
from aimds.detect.rules import Rules, signatures
from aimds.detect.texts import Texts
from aimds.errors import ArtefactError, BackendError
from aimds.jobs.hunt import hits, times
from aimds.jobs.hunt.hits import HITS
from aimds.jobs.hunt.sought import Sought
from aimds.jobs.scan.convert import carried, to_requests
from aimds.jobs.scan.manifest import digest
from aimds.jobs.scan.reading import Chunk
from aimds.jobs.scan.screening import too_long
from aimds.jobs.scan.tasks import Factory, Job
from aimds.jobs.scan.work import Counts
from aimds.kernels import placement
from aimds.kernels.placement import HOST, Place
from aimds.schema import CHANNELS, enum
from aimds.taxonomy import CODES, THREATS

EXCERPT_BYTES = 480
CONTEXT_BYTES = 120
"""Bytes of an excerpt on either side of the hit."""


class Found(NamedTuple):
    """One hit. ``row`` is a row of the batch, ``view`` indexes `KINDS`, -1 where it is not known."""

    row: int
    pattern_id: str
    threat: str
    start: int
    end: int
    score: float
    view: int


def factory(sought: Sought, *, decode: bool, excerpts: bool, mask: bool, backend: str = "auto") -> Factory:
    """What makes the `Hunting` of a worker."""
    settings = {"decode": decode, "excerpts": excerpts, "mask": mask, "backend": backend}
    return Factory(f"{__name__}:make", {"sought": sought.to_json(), **settings})


def make(sought: dict[str, Any], decode: bool, excerpts: bool, mask: bool, backend: str) -> Hunting:
    """The work from what crossed to the worker."""
    place = placement.place(backend)
    return Hunting(Sought.from_json(sought), decode=decode, excerpts=excerpts, mask=mask, place=place)


class Hunting:
    """Finds what is ``sought``. Without ``decode`` only the text as written is looked at; with ``mask`` excerpts hold
    asterisks in the place of personal data and secrets. The hits are the same in any ``place``."""

    def __init__(
        self,
        sought: Sought,
        *,
        decode: bool = True,
        excerpts: bool = True,
        mask: bool = True,
        place: Place = HOST,
    ) -> None:
        self._place = place
        self._bank = sought.bank() if sought.patterns else None
        self._rules = Rules(signatures.parse(sought.rules.encode(), "signatures"), "hunt") if sought.rules else None
        self._limits = Limits() if decode else Limits(max_depth=0)
        self._excerpts, self._mask = excerpts, mask
        settings = {"decode": decode, "excerpts": excerpts, "mask": mask, "engine": __version__}
        words = digest(data.read_bytes(SYNONYMS).decode())
        self.config_hash = digest([sought.to_json(), settings, data.manifest(), words])[:16]

    @property
    def seconds(self) -> Mapping[str, float]:
        """Nothing: a hunt keeps no times by stage."""
        return {}

    def rows(self, job: Job, chunk: Chunk, counts: Counts) -> Iterator[pa.RecordBatch]:
        """The hits in ``chunk``, by row, the strongest of a row first; at most one for each pattern."""
        requests, _ = to_requests(chunk.batch, job.used, chunk.numbers)
        column = requests.column("text")
        unjudged = too_long(column, job.limits) | chunk.problems
        every = Texts.from_arrow(column)
        kept = every.valid.copy()
        kept[list(unjudged)] = False
        rows = np.flatnonzero(kept)
        texts = every if len(rows) == len(every) else every.take(rows)
        channels = requests.column("channel").indices.to_numpy(zero_copy_only=False)[rows]
        found, broken, partial = self._search(texts, channels)
        found = [one._replace(row=int(rows[one.row])) for one in found]
        places = np.array([one.row for one in found], np.int64)
        lost = len(kept) - len(rows) + broken
        _count(counts, requests, np.unique(places), {"unjudged": lost, "partial": partial})
        if not found:
            return
        # A text may be long and hold many hits: it is never taken along with them.
        beside = requests.select([name for name in requests.schema.names if name in HITS.names])
        columns = self._columns(beside.take(pa.array(places)), every, found, chunk.numbers.take(pa.array(places)))
        for name in job.carry:
            kind = job.output_schema.field(name).type
            columns.append(carried(chunk.batch.column(name).take(pa.array(places)), kind))
        yield pa.RecordBatch.from_arrays(columns, schema=job.output_schema)

    def _search(self, texts: Texts, channels: npt.NDArray[np.int8]) -> tuple[list[Found], int, int]:
        """Hits by row, how many rows broke a stage, and how many were not decoded to the end."""
        try:
            views = normalize(texts.values, texts.offsets, self._limits)
            return self._judged(texts, views, channels), 0, int(views.truncated.sum())
        except (ArtefactError, BackendError):
            raise
        except Exception:  # a row that breaks a stage must not hide its neighbours
            if len(texts) < 2:
                return [], len(texts), 0
        middle = len(texts) // 2
        first = self._search(texts.slice(0, middle), channels[:middle])
        found, broken, partial = self._search(texts.slice(middle, len(texts)), channels[middle:])
        shifted = [one._replace(row=one.row + middle) for one in found]
        return first[0] + shifted, first[1] + broken, first[2] + partial

    def _judged(self, texts: Texts, views: Views, channels: npt.NDArray[np.int8]) -> list[Found]:
        best: dict[tuple[int, str], Found] = {}
        if self._bank is not None:
            pieces = windows(views)
            for hit in self._bank.match(pieces, place=self._place).hits:
                base, view = int(pieces.base[hit.window]), int(pieces.view[hit.window])
                start, end = views.span(view, base + hit.start, base + hit.end)
                pattern = self._bank.patterns[hit.pattern]
                row, kind = int(pieces.row[hit.window]), int(views.kinds[view])
                one = Found(row, pattern.id, pattern.threat, start, end, min(1.0, hit.margin), kind)
                known = best.get((row, pattern.id))
                if known is None or (-one.score, start, end) < (-known.score, known.start, known.end):
                    best[row, pattern.id] = one
        if self._rules is not None:
            for item in self._rules.scan((texts.values, texts.offsets), views, channels):
                best[item.row, item.pattern_id] = Found(
                    item.row, item.pattern_id, item.threat, item.start, item.end, item.score, -1
                )
        return sorted(best.values(), key=lambda one: (one.row, -one.score, one.start, one.pattern_id))

    def _columns(self, beside: pa.RecordBatch, texts: Texts, found: list[Found], numbers: pa.Array) -> list[pa.Array]:
        views = pa.array([None if one.view < 0 else one.view for one in found], pa.int8())
        made: dict[str, pa.Array] = {
            "row": numbers,
            "pattern_id": pa.array([one.pattern_id for one in found], pa.string()),
            "threat_type": enum(THREATS, [CODES[one.threat] for one in found]),
            "start": pa.array([one.start for one in found], pa.int32()),
            "end": pa.array([one.end for one in found], pa.int32()),
            "score": pa.array([one.score for one in found], pa.float32()),
            "view": pa.DictionaryArray.from_arrays(views, pa.array(KINDS, pa.string())),
        }
        if self._excerpts:
            made["excerpt"], made["excerpt_start"] = self._cut(texts, found)
        arrays = []
        for field in HITS:
            own = made.get(field.name)
            if own is None and field.name in beside.schema.names:
                own = beside.column(field.name)
            arrays.append(pa.nulls(len(found), field.type) if own is None else own)
        return arrays

    @cached_property
    def _pii(self) -> Pii:
        return Pii.load()

    def _cut(self, texts: Texts, found: list[Found]) -> tuple[pa.Array, pa.Array]:
        """Excerpts around the hits ``found`` in ``texts`` and where they begin; null where nothing could be masked."""
        hit = np.unique(np.array([one.row for one in found], np.int64))
        hidden = self._private(texts.take(hit)) if self._mask else {place: [] for place in range(len(hit))}
        private = {row: hidden[place] for place, row in enumerate(hit.tolist()) if place in hidden}
        excerpts: list[str | None] = []
        starts: list[int | None] = []
        for one in found:
            if one.row not in private:
                excerpts.append(None)
                starts.append(None)
                continue
            raw = texts.values[texts.offsets[one.row] : texts.offsets[one.row + 1]]
            low = _border(raw, max(0, one.start - CONTEXT_BYTES))
            high = _border(raw, min(len(raw), one.end + CONTEXT_BYTES, low + EXCERPT_BYTES))
            shown = bytearray(raw[low:high].tobytes())
            for start, end in private[one.row]:
                first, last = max(start, low) - low, min(end, high) - low
                if first < last:
                    shown[first:last] = b"*" * (last - first)
            excerpts.append(shown.decode("utf-8", "aimds.same_length"))
            starts.append(low)
        return pa.array(excerpts, pa.string()), pa.array(starts, pa.int32())

    def _private(self, texts: Texts) -> dict[int, list[tuple[int, int]]]:
        """Where personal data and secrets stand in each of ``texts``, those left out that cannot be searched."""
        try:
            seen = self._pii.scan((texts.values, texts.offsets), normalize(texts.values, texts.offsets))
        except (ArtefactError, BackendError):
            raise
        except Exception:  # a row that cannot be masked must not hide its neighbours
            if len(texts) < 2:
                return {}
            middle = len(texts) // 2
            later = self._private(texts.slice(middle, len(texts)))
            return self._private(texts.slice(0, middle)) | {row + middle: spans for row, spans in later.items()}
        out: dict[int, list[tuple[int, int]]] = {row: [] for row in range(len(texts))}
        for span in seen:
            out[span.row].append((span.start, span.end))
        return out


def _border(raw: npt.NDArray[np.uint8], position: int) -> int:
    """``position`` moved back to the start of the UTF-8 character it falls into."""
    at = position
    while 0 < at < len(raw) and position - at < 4 and raw[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _count(counts: Counts, requests: pa.RecordBatch, hit: npt.NDArray[np.int64], lost: dict[str, int]) -> None:
    ts = requests.column("ts")
    timed = ts.is_valid().to_numpy(zero_copy_only=False)
    at = ts.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    fresh: Counts = {"rows": {"read": len(timed), "hit": len(hit), "untimed": int((~timed).sum()), **lost}}
    for name, rows in ((hits.READ, np.flatnonzero(timed)), (hits.HIT, hit[timed[hit]])):
        times.count(fresh.setdefault(name, {}), at[rows] // 1_000_000)
    if timed.any():
        fresh[hits.ENDS] = {hits.FIRST: int(at[timed].min()), hits.LAST: int(at[timed].max())}
    if len(hit):
        codes = requests.column("channel").indices.to_numpy(zero_copy_only=False)[hit]
        fresh["channels"] = {CHANNELS[code]: int((codes == code).sum()) for code in np.unique(codes).tolist()}
    hits.add(counts, fresh)
