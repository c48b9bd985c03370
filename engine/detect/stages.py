"""The stages in their order: normalise, rules, PII, patterns, classifier, deep, fusion."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aimds.detect import calibration, failures, findings, fusion, gray, rowwise
from aimds.detect.classifier import Classifier
from aimds.detect.deep import Deep
from aimds.detect.evidence import MAX_EVIDENCE, Evidence, Span
from aimds.detect.exemplars import Exemplars
from aimds.detect.features import Windows, first_best, highest, windows
from aimds.detect.findings import Judged, Taught
from aimds.detect.mentions import unmentioned
from aimds.detect.normalize import Flag, Views, normalize
from aimds.detect.patterns import Bank, Matches
from aimds.detect.pii import Pii
from aimds.detect.probe import Probe
from aimds.detect.rules import Rules
from aimds.detect.script import scripts
from aimds.detect.strongest import combine
from aimds.detect.texts import Texts
from aimds.kernels.placement import HOST, Place
from aimds.taxonomy import CODES, NOTABLE_P, THREATS

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Spent = Callable[[str, float], None]

PII = CODES["pii_exposure"]
OK, PARTIAL, ERROR = 0, 1, 2
"""Codes of `aimds.schema.STATUSES`."""
P_VALUE, P_HARMFUL, SCORE, HARMFUL_SCORE, SEVERITY, THREAT, STATUS, FIRST_SCORE = range(8)
COLUMNS = FIRST_SCORE + len(THREATS)
_INVALID = int(Flag.INVALID_UTF8)
_NUMBERS = (P_VALUE, P_HARMFUL, SCORE, HARMFUL_SCORE, SEVERITY)
_STATES = (_NUMBERS, THREAT, STATUS, FIRST_SCORE, OK, PARTIAL, _INVALID)
_NOT_JUDGED = Judged.none()
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(slots=True)
class Scores:
    """Stateless scores of B rows. ``numbers`` float64 (B, COLUMNS): p-value, p of harmful, score, harmful score,
    severity, threat code, status code, then one score per threat type; NaN where status is error. What few rows have
    is keyed by row: ``evidence``, ``spans``, ``errors``."""

    numbers: F64
    evidence: dict[int, tuple[Evidence, ...]] = field(default_factory=dict)
    spans: dict[int, tuple[Span, ...]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def empty(cls, rows: int) -> Scores:
        """Room for ``rows`` rows."""
        return cls(np.full((rows, COLUMNS), np.nan))

    @classmethod
    def failed(cls, rows: int, reason: str) -> Scores:
        """``rows`` rows that could not be judged, all for the same ``reason``."""
        scores = cls.empty(rows)
        scores.numbers[:, THREAT] = 0
        scores.numbers[:, STATUS] = ERROR
        scores.errors = dict.fromkeys(range(rows), reason)
        return scores

    def row(self, row: int) -> Scores:
        """One row, as a batch of its own."""
        return Scores(
            self.numbers[row : row + 1].copy(),
            {0: self.evidence[row]} if row in self.evidence else {},
            {0: self.spans[row]} if row in self.spans else {},
            {0: self.errors[row]} if row in self.errors else {},
        )

    def lacking(self, row: int, reasons: Iterable[str]) -> None:
        """Note that detectors were left out for ``row``, and why."""
        if self.numbers[row, STATUS] != ERROR:
            self.numbers[row, STATUS] = PARTIAL
        self.errors[row] = "; ".join([*reasons, *([self.errors[row]] if row in self.errors else [])])

    def put(self, rows: npt.NDArray[np.int64], other: Scores) -> None:
        """Copy the rows of ``other`` to the places ``rows`` of this one."""
        self.numbers[rows] = other.numbers
        places = rows.tolist()
        self.evidence.update({places[row]: found for row, found in other.evidence.items()})
        self.spans.update({places[row]: found for row, found in other.spans.items()})
        self.errors.update({places[row]: reason for row, reason in other.errors.items()})


@dataclass(frozen=True, slots=True)
class Detector:
    """All stages with their artefacts; immutable, so that a batch sees one version of each.

    ``profile`` is one of `gray.PROFILES`; all but ``fast`` need ``deep``. ``gray`` is where the gray zone of
    ``cascade`` begins, as a p-value. ``exemplars`` is what it was taught, ``probe`` what ``deep`` makes of that.
    """

    rules: Rules
    pii: Pii
    bank: Bank
    classifier: Classifier
    deep: Deep | None = None
    profile: str = "fast"
    gray: float = gray.GRAY
    exemplars: Exemplars = field(default_factory=Exemplars.empty)
    probe: Probe | None = None

    @property
    def model_version(self) -> str:
        """Version of the classifier with its tails and, where it runs, of the encoder."""
        deep = "" if self.deep is None else f"+{self.deep.version}"
        return self.classifier.version + deep

    def ready(self, place: Place = HOST) -> None:
        """Make now what is else made when a text first asks for it, so that none waits."""
        self.rules.compile()
        if self.deep is not None and self.profile != "fast" and place.backend == "cpu":
            self.deep.ready()

    @property
    def signature_version(self) -> str:
        """Changes whenever a signature, a kind of personal data, a pattern, its threshold, an exemplar or the probe
        does."""
        parts = [self.rules.version, self.pii.version, self.bank.version, self.exemplars.version]
        parts += [] if self.probe is None else [self.probe.version]
        return hashlib.sha256("+".join(parts).encode() + self.bank.limits.tobytes()).hexdigest()[:12]

    def score(
        self,
        texts: Texts,
        channels: npt.NDArray[np.int8],
        *,
        threads: int = 1,
        place: Place = HOST,
        spent: Spent | None = None,
        without: Mapping[str, str] | None = None,
    ) -> Scores:
        """Scores of B ``texts`` in ``channels`` int8 (B,); ``spent(stage, started)`` is told when a stage is over.

        In ``place`` run the n-gram kernels and the alignment; the other stages are on the CPU by design. Detectors in
        ``without`` (of `aimds.detect.failures.OPTIONAL`, each with what the errors of all rows then say) are left out.

        Raises:
            StageError: one of the detectors that may be left out broke on these texts.
        """
        clock, left_out = spent or (lambda stage, started: None), without or {}
        started = time.perf_counter()
        whole = normalize(texts.values, texts.offsets)
        views = unmentioned(whole, channels)
        pieces = windows(views)
        clock("normalize", started)

        started = time.perf_counter()
        found: list[Evidence] = []
        if "rules" not in left_out:
            with failures.named("rules"):
                found = self.rules.scan((texts.values, texts.offsets), views, channels)
        clock("rules", started)

        started = time.perf_counter()
        spans: list[Span] = []
        if "pii" not in left_out:
            with failures.named("pii"):
                spans = self.pii.scan((texts.values, texts.offsets), whole)
        clock("pii", started)

        started = time.perf_counter()
        if "patterns" in left_out:
            matches = Matches.none(len(pieces))
        else:
            with failures.named("patterns"):
                matches = self.bank.match(pieces, threads=threads, place=place)
        clock("patterns", started)

        started = time.perf_counter()
        logits, foreign = self.classifier.read(pieces.values, pieces.offsets, threads=threads, place=place)
        clock("classifier", started)

        started = time.perf_counter()
        stages, best = combine(self.bank, self.classifier, views, pieces, logits, matches, found, channels)
        taught = None
        if "exemplars" not in left_out:
            with failures.named("exemplars"):
                taught = self._taught(pieces, logits, stages, threads, place)
        grouped = bool(calibration.groups_of(self.classifier.tails))
        script = scripts(texts.values, texts.offsets) if grouped else np.zeros(len(texts), np.int8)
        fused = calibration.fuse(self.classifier, stages, script)
        clock("fusion", started)

        judged = _NOT_JUDGED
        if self.deep is not None and self.profile != "fast" and "deep" not in left_out:
            started = time.perf_counter()
            with failures.named("deep"):
                rows = gray.rows(self.profile, fused.p_value, self.gray)
                rows = rows[texts.valid[rows]]
                marked = gray.marked(views, pieces, logits, matches.margin, found, rows)
                window = gray.windows(pieces, logits, rows, stages.untrusted, marked)
                more = None if self.probe is None else self.probe.column(self.deep)
                said = gray.judge(
                    self.deep, pieces, window, stages.untrusted, stages.units, more=more, threads=threads, place=place
                )
                judged = Judged(window, said, fused.p_value)
            owner = pieces.row[window]
            stages.deep = highest(said[:, 0], owner, len(texts))
            if self.probe is not None and more is not None:
                stages.probe = self.probe.p_value(highest(said[:, 1], owner, len(texts)), stages.untrusted)
            fused = calibration.fuse(self.classifier, stages, script)
            clock("deep", started)

        started = time.perf_counter()
        scores = self._collect(
            texts, views, pieces, matches, found, spans, fused, stages, best, foreign, judged, taught
        )
        for row in range(len(texts)) if left_out else ():
            scores.lacking(row, left_out.values())
        clock("fusion", started)
        return scores

    def _taught(
        self, pieces: Windows, logits: F32, stages: fusion.StageScores, threads: int, place: Place = HOST
    ) -> Taught | None:
        if not len(self.exemplars):
            return None
        # The windows the benign tail was fitted on are chosen alike: of more windows the highest would be higher.
        rows = len(stages.attack)
        chosen = gray.windows(pieces, logits, np.arange(rows), np.zeros(rows, np.bool_))
        owner = pieces.row[chosen]
        few = Windows(*pieces.take(chosen), pieces.view[chosen], owner, pieces.base[chosen])
        contrast, nearest = self.exemplars.score(few, threads=threads, place=place)
        top, best = first_best(contrast, owner, rows)
        stages.exemplars = self.exemplars.p_value(top)
        return Taught(chosen[best], nearest[best])

    def _collect(
        self,
        texts: Texts,
        views: Views,
        pieces: Windows,
        matches: Matches,
        found: list[Evidence],
        spans: list[Span],
        fused: fusion.Fused,
        stages: fusion.StageScores,
        best: npt.NDArray[np.int64],
        foreign: npt.NDArray[np.bool_],
        judged: Judged,
        taught: Taught | None,
    ) -> Scores:
        out = Scores(np.empty((len(texts), COLUMNS)))
        numbers, flags = out.numbers, views.flags
        columns = (fused.p_value, fused.p_harmful, fused.score, fused.harmful, fused.severity)
        unfit, cut, invalid, special, null = rowwise.fill(
            columns, fused.threat, fused.scores, views.truncated, flags, texts.valid, _STATES, NOTABLE_P, numbers
        )
        if cut:
            for place in np.flatnonzero(views.truncated).tolist():
                out.errors[place] = failures.TRUNCATED
        if invalid:
            for place in np.flatnonzero(flags & np.uint32(_INVALID)).tolist():
                out.errors[place] = failures.INVALID

        evidence: dict[int, list[Evidence]] = {}
        notable = (fused.p_value <= NOTABLE_P).nonzero()[0] if special else _NO_ROWS
        for item in (
            *found,
            *findings.matched(self.bank, views, pieces, matches),
            *findings.located(self.classifier, views, pieces, stages, best, foreign, notable),
            *findings.seen(self.classifier, views, pieces, stages, judged, fused),
            *findings.near(self.classifier, self.exemplars, views, pieces, stages, taught),
        ):
            evidence.setdefault(item.row, []).append(item)
        for place, items in evidence.items():
            unique = sorted(set(items), key=lambda item: (-item.score, item.start, item.end, item.detector, item[2]))
            out.evidence[place] = tuple(unique[:MAX_EVIDENCE])
        by_row: dict[int, list[Span]] = {}
        for span in spans:
            by_row.setdefault(span.row, []).append(span)
        for place, parts in by_row.items():
            out.spans[place] = tuple(sorted(parts, key=lambda span: (span.start, span.end, span.kind)))
            numbers[place, FIRST_SCORE + PII] = max(numbers[place, FIRST_SCORE + PII], *(part.score for part in parts))
        failed = []
        if unfit:
            failed.append((np.flatnonzero(~np.isfinite(numbers).all(axis=1)), "a stage gave no finite score"))
        if null:
            failed.append((np.flatnonzero(~texts.valid), "text is null"))
        for rows, reason in failed:
            out.put(rows, Scores.failed(len(rows), reason))
        return out
