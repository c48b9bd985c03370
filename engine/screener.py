"""The one engine behind every entrance: a RecordBatch of REQUESTS in, a RecordBatch of VERDICTS out.

Runs the stages of `aimds.detect` over slices of bounded size, hands their scores to `aimds.respond` for an action and
assembles the verdicts. Knows no socket, no file and no actor. A row that breaks a stage gets status ``error`` for
itself alone; a verdict depends on its own row only, never on the batch around it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

import aimds
from aimds import artefacts, assembly, data, trial
from aimds.detect.cache import Cache, Stats
from aimds.detect.gray import GRAY
from aimds.detect.patterns.store import PatternStore
from aimds.detect.stages import Detector, Scores
from aimds.detect.texts import Texts
from aimds.errors import ConfigError
from aimds.ids import with_bounded
from aimds.kernels import placement
from aimds.kernels.placement import Place
from aimds.learn.candidate import Candidate
from aimds.learn.rounds import Learned, Moved
from aimds.learn.teaching import teach
from aimds.respond.policy import Policy
from aimds.respond.violations import noted
from aimds.schema import CHANNELS, REQUESTS, VERDICTS, requests
from aimds.scoring import Scoring
from aimds.sources import batches
from aimds.verdicts import Verdicts

DEFAULT_CACHE_BYTES = 64 << 20
_CHANNELS = pa.array(CHANNELS, pa.string())


@dataclasses.dataclass(frozen=True, slots=True)
class _Side:
    """What judges a batch, all of it changed at once."""

    detector: Detector
    policy: Policy
    cache: Cache[Scores]
    versions: dict[str, str]


class Screener:
    """Screens batches. `default` builds one from the shipped artefacts; `screen` takes whatever holds texts.

    Args:
        detector: the stages that score a text, with the profile they run in.
        policy: turns scores into actions.
        store: patterns laid over the detector's bank; `refresh` takes up its changes.
        learned: what `aimds learn` has put in force, laid under the store; `refresh` takes up its changes.
        threads: threads for the kernels and the encoder.
        cache_bytes: bound of the score cache; 0 turns it off.
        place: where batches are put; by default where AIMDS_BACKEND says.
        today: decides which entries of the policy's allowlist are in force.

    Raises:
        ConfigError: a value that cannot be.
        BackendError: AIMDS_BACKEND asks for cuda, which cannot run here.
    """

    def __init__(
        self,
        detector: Detector,
        policy: Policy,
        *,
        store: PatternStore | None = None,
        learned: Learned | None = None,
        threads: int = 1,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        place: Place | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        if threads < 1:
            raise ConfigError("threads", threads, "a whole number of at least 1")
        if cache_bytes < 0:
            raise ConfigError("cache_bytes", cache_bytes, "a whole number of bytes, 0 for no cache")
        self._bare, self._store, self._learned = detector, store, learned
        self._written, self._today = policy, today
        self._scoring = Scoring(threads, placement.place() if place is None else place)
        self._cache_bytes = cache_bytes
        self._use(store, learned)

    @classmethod
    def default(
        cls,
        *,
        profile: str = "cascade",
        gray: float = GRAY,
        policy: Policy | None = None,
        model: Path | str | None = None,
        calibration: Path | str | None = None,
        patterns: Path | str | None = None,
        learned: Path | str | None = None,
        backend: str = "auto",
        threads: int = 1,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> Screener:
        """A screener with the shipped signatures, patterns, model and policy.

        Args:
            profile: ``fast`` (no encoder), ``cascade`` (the encoder judges the gray zone) or ``full`` (all that is not
                certain).
                With a model that was trained without an encoder, ``cascade`` runs as ``fast`` and its verdicts say so.
            gray: p-value at which the gray zone of ``cascade`` begins.
            policy: instead of the shipped one.
            model: a folder that `aimds train` wrote, instead of the shipped model and pattern thresholds.
            calibration: a folder that `aimds calibrate` wrote: benign tails of your own traffic.
            patterns: a folder of patterns that `aimds patterns` keeps, laid over the shipped bank; see `refresh`.
            learned: a folder that `aimds learn` keeps: what was promoted there; see `refresh`.
            backend: ``cpu``, ``cuda``, or ``auto``: what AIMDS_BACKEND says, and where it says nothing a GPU if there
                is one.

        Raises:
            ConfigError: an unknown profile or backend, ``full`` with a model that has no encoder, a calibration made
                for another model, profile or gray zone, or what was learnt with another model.
            BackendError: cuda is asked for and cannot run here; it says why.
            ArtefactError: an artefact is missing or damaged.
        """
        place = placement.place(backend)
        of_model, of_calibration = (None if one is None else Path(one) for one in (model, calibration))
        detector = artefacts.detector(profile, gray, of_model, of_calibration)
        store = None if patterns is None else PatternStore.load(Path(patterns))
        known = None if learned is None else Learned.load(Path(learned))
        policy = policy or Policy.load()
        made = cls(detector, policy, store=store, learned=known, threads=threads, cache_bytes=cache_bytes, place=place)
        # Before a text waits for it, and no text is sure to reach patterns of every length.
        made.detector.bank.index.ready(place)
        return made

    def refresh(self) -> bool:
        """Take up a change of the pattern store or of what was learnt; the next batch sees it, one that runs does not.
        True if there was one.

        Raises:
            ArtefactError: something is not signed by a trusted key, changed or missing; all stays as it is.
            ConfigError: what was learnt belongs to another model; all stays as it is.
        """
        store = self._store.reload() if self._store is not None and self._store.changed() else self._store
        learned = self._learned.reload() if self._learned is not None and self._learned.changed() else self._learned
        if store is self._store and learned is self._learned:
            return False
        self._use(store, learned)
        self._store, self._learned = store, learned
        return True

    def taught(
        self, attacks: Sequence[str], benign: Sequence[str] = (), *, threat: str = "direct_injection"
    ) -> Screener:
        """Another screener that also knows these confirmed ``attacks`` and ``benign`` texts; this one stays as it is.

        Its pattern store and what `aimds learn` has put in force are this one's: `refresh` takes up changes in both.

        Raises:
            ConfigError: nothing to teach, or an unknown ``threat``.
        """
        detector = teach(self._bare, attacks, benign, threat=threat)
        return Screener(
            detector,
            self._written,
            store=self._store,
            learned=self._learned,
            threads=self.threads,
            cache_bytes=self._cache_bytes,
            place=self.place,
            today=self._today,
        )

    def _use(self, store: PatternStore | None, learned: Learned | None) -> None:
        def made(candidate: Candidate | None, moved: Moved | None) -> _Side:
            detector = self._bare if candidate is None else candidate.apply(self._bare)
            if store is not None:
                detector = dataclasses.replace(detector, bank=store.bank(detector.bank))
            policy = self._written if moved is None else self._written.moved(moved["from"], moved["to"])
            cache = Cache[Scores](self._cache_bytes, self._hash(detector, policy))
            return _Side(detector, policy, cache, _versions(detector, policy))

        current, on_trial = (None, None) if learned is None else (learned.current, learned.trial)
        first, second = (None, None) if learned is None else learned.moved
        share = 0.0 if learned is None or on_trial is None else learned.share
        other = made(on_trial, second) if share else None
        # One assignment, so that a batch on another thread sees a detector with its own cache, never half a change.
        self._now: tuple[_Side, _Side | None, float] = (made(current, first), other, share)

    @property
    def detector(self) -> Detector:
        """The stages as the next batch will see them; on trial are others."""
        return self._now[0].detector

    @property
    def policy(self) -> Policy:
        """What turns scores into actions, as the next batch will see it; on trial its thresholds may be others."""
        return self._now[0].policy

    @property
    def profile(self) -> str:
        """The profile that runs."""
        return self.detector.profile

    @property
    def threads(self) -> int:
        """Threads for the kernels and the encoder."""
        return self._scoring.threads

    @property
    def place(self) -> Place:
        """Where batches are put."""
        return self._scoring.place

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent in each stage since the start, in seconds."""
        return self._scoring.seconds

    @property
    def backend(self) -> str:
        """The backend that runs: cpu or cuda."""
        return self.place.backend

    @property
    def versions(self) -> dict[str, str]:
        """Versions of all that a verdict depends on: engine, model, signatures, policy."""
        return dict(self._now[0].versions)

    @property
    def config_hash(self) -> str:
        """The same for two screeners that give the same verdicts, whatever their threads and cache."""
        current, other, share = self._now
        alone = self._hash(current.detector, current.policy)
        return alone if other is None else f"{alone}+{self._hash(other.detector, other.policy)}+{share}"

    def _hash(self, detector: Detector, policy: Policy) -> str:
        runs = {"profile": detector.profile, "gray": repr(detector.gray), "backend": self.backend}
        content = json.dumps({**runs, **_versions(detector, policy), **data.manifest()}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def cache_stats(self) -> Stats:
        """Counters of the score cache."""
        return self._now[0].cache.stats

    def screen(self, source: Any) -> Verdicts:
        """Screen texts.

        Args:
            source: a list of texts (str, bytes or None), or a table with a ``text`` column and any of the other
                columns of REQUESTS: an Arrow table, batch or reader, a pandas or a polars frame.

        Raises:
            SchemaError: no text column, or a column of a type that does not fit; names the column and the row.
        """
        return Verdicts(pa.Table.from_batches([self.screen_batch(batch) for batch in batches(source)], VERDICTS))

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Verdicts (schema VERDICTS) of ``batch`` (schema REQUESTS), same rows, same order. An id that is longer than
        `aimds.ids.MAX_ID_BYTES` has a stand-in there, and the verdict is partial and says so.

        Raises:
            SchemaError: ``batch`` does not fit the contract.
        """
        # Equal types may hold another dictionary; a channel read by the wrong one would get another verdict.
        if not (batch.schema.equals(REQUESTS) and _has_known_channels(batch.column("channel"))):
            batch = requests(batch)
        batch, notes = with_bounded(batch)
        (current, other, share) = self._now
        if other is None:
            return noted(self._verdicts(batch, current), notes)
        chosen = trial.chosen(batch, share)
        out = trial.joined(batch, chosen, lambda part, tried: self._verdicts(part, other if tried else current))
        return noted(out, notes)

    def _verdicts(self, batch: pa.RecordBatch, side: _Side) -> pa.RecordBatch:
        detector, texts = side.detector, Texts.from_arrow(batch.column("text"))
        channels = batch.column("channel").indices.to_numpy(zero_copy_only=False)
        scores = self._scoring.scores(detector, side.cache, texts, channels)
        started = time.perf_counter()
        today = self._today() if side.policy.allowlist.entries else None
        out = assembly.verdicts(batch, texts, scores, side.policy, detector.profile, self.backend, side.versions, today)
        self._scoring.spent("respond", started)
        return out

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Verdicts for rows (schema REQUESTS) that nobody looked at: status ``error``, action as the policy has it."""
        batch, notes = with_bounded(batch)
        side, texts = self._now[0], Texts.from_arrow(batch.column("text"))
        scores = Scores.failed(len(texts), reason)
        out = assembly.verdicts(batch, texts, scores, side.policy, self.profile, self.backend, side.versions)
        return noted(out, notes)


def _versions(detector: Detector, policy: Policy) -> dict[str, str]:
    return {
        "engine": aimds.__version__,
        "model": detector.model_version,
        "signatures": detector.signature_version,
        "policy": policy.version,
    }


def _has_known_channels(column: pa.DictionaryArray) -> bool:
    return bool(column.null_count == 0 and column.dictionary.equals(_CHANNELS))
