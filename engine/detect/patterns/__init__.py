"""The pattern bank: short texts of our own writing, each an id, a threat and a threshold, found again in paraphrase.

A window passes an exact bound on word sets (`similarity`), then subsequence DTW over tokens with each pattern near it;
what comes within a pattern's threshold is confirmed by common subsequence and edit distance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.features import Windows
from aimds.detect.patterns import candidates, index_file, thresholds
from aimds.detect.patterns.alignment import Alignment
from aimds.detect.patterns.lexicon import Lexicon, fold, split
from aimds.detect.patterns.pattern_file import Pattern, check, parse
from aimds.detect.patterns.similarity import Index
from aimds.errors import ArtefactError, ConfigError
from aimds.kernels.placement import HOST, Place
from aimds.taxonomy import CODES

F32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]

__all__ = ["Bank", "Hit", "Matches", "Pattern"]

FOLDER = "patterns"
SYNONYMS = "synonyms.toml"
THRESHOLDS = "bank.npz"
MIN_COUNTED = 2
"""A pattern needs so many words of weight above 0."""
NEW_THRESHOLD = 0.15
"""Normalised distance of a pattern that no benign text has calibrated."""
SLACK = 0.25
"""Margins down to minus this are computed; below, a window counts as far from every pattern."""
MAX_HITS = 3
MAX_CANDIDATES = 8
"""Patterns of one window that are tried until MAX_HITS are confirmed."""


class Hit(NamedTuple):
    """A confirmed match. ``start`` and ``end`` are folded bytes relative to the window, ``margin`` is in (0, 1]."""

    window: int
    pattern: int
    margin: float
    start: int
    end: int


class Matches(NamedTuple):
    """Matches of W windows.

    ``margin`` float32 (W,): best (threshold - distance) / threshold over the patterns, above 0 for a confirmed match, 0
    where the best was not confirmed, -1 where no pattern is near. ``pattern`` int32 (W,): the pattern of that margin,
    -1 for none. ``hits``: at most MAX_HITS for each window, best first, windows in order.
    """

    margin: F32
    pattern: Ints
    hits: list[Hit]

    @classmethod
    def none(cls, windows: int) -> Matches:
        """Nothing found in ``windows`` windows."""
        return cls(np.full(windows, -1, np.float32), np.full(windows, -1, np.int32), [])


@dataclass(frozen=True, slots=True)
class Bank:
    """P patterns ready to match; immutable, so that a batch sees one version.

    ``limits`` float32 (P,): threshold of each pattern as a normalised distance, 0 for one that is off. ``codes`` int8
    (P,): threat codes. ``read_lexicon`` gives what `lexicon` is.
    """

    patterns: tuple[Pattern, ...]
    limits: F32
    codes: npt.NDArray[np.int8]
    version: str
    read_lexicon: Callable[[], Lexicon]
    index: Index
    _need: Offsets = field(init=False, repr=False, compare=False)
    """What a window must save on a pattern to be aligned with it at all, int64 (P,)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_need", self.index.need(self.limits * (1 + SLACK)))

    @property
    def lexicon(self) -> Lexicon:
        """Which words are near each other, and what each counts: what patterns that are added are read with."""
        return self.read_lexicon()

    @classmethod
    def load(cls, folder: Path | None = None, *, calibrated: bool = True) -> Bank:
        """The bank in ``folder``: ``patterns/*.toml``, ``synonyms.toml``, ``bank.npz``.

        The default is the one shipped, which is read once in a process.
        Without ``calibrated`` the thresholds are not read and all are NEW_THRESHOLD.

        Raises:
            ArtefactError: a file is missing or malformed (the file and the pattern's id are named), or the thresholds
                are those of other patterns.
        """
        home = data.path(SYNONYMS).parent if folder is None else folder
        bank = _shipped() if folder is None else _read(home)
        if not calibrated:
            return bank
        file = home / THRESHOLDS
        if not file.exists():
            raise ArtefactError(file, "is missing; calibrate the bank")
        read = data.read_bytes(THRESHOLDS) if folder is None else file.read_bytes()
        return replace(bank, limits=thresholds.unpack(file, read, bank.version, len(bank.patterns)))

    @classmethod
    def build(
        cls, patterns: Sequence[Pattern], lexicon: Lexicon, limits: F32, version: str, *, synonyms: bool = True
    ) -> Bank:
        """The bank of these patterns; ``limits`` float32 (P,). Without ``synonyms`` only forms of a word are near it.

        Raises:
            ConfigError: a pattern has fewer than MIN_COUNTED words of weight above 0.
        """
        order = sorted(range(len(patterns)), key=lambda k: _place(patterns[k]))
        chosen = tuple(patterns[k] for k in order)
        words = split(fold([pattern.text for pattern in chosen]))
        for pattern, counted in zip(chosen, words, strict=True):
            if sum(lexicon.weight(word) > 0 for word in counted) < MIN_COUNTED:
                raise ConfigError(f"pattern {pattern.id}", pattern.text, f"{MIN_COUNTED} words that count")
        index = Index.build([(p.lang, ws) for p, ws in zip(chosen, words, strict=True)], lexicon, synonyms=synonyms)
        return cls._of(chosen, lambda: lexicon, np.asarray(limits, np.float32)[order], version, index)

    @classmethod
    def _of(
        cls,
        patterns: tuple[Pattern, ...],
        read_lexicon: Callable[[], Lexicon],
        limits: F32,
        version: str,
        index: Index,
    ) -> Bank:
        # Of patterns in bank order.
        codes = np.array([CODES[pattern.threat] for pattern in patterns], np.int8)
        return cls(patterns, limits, codes, version, read_lexicon, index)

    def with_patterns(
        self,
        added: Iterable[Pattern] = (),
        removed: Iterable[str] = (),
        *,
        limits: Mapping[str, float] | None = None,
        benign: Sequence[str] = (),
    ) -> Bank:
        """Another bank with patterns ``added`` and the ids ``removed``; this one stays as it is.

        Args:
            limits: thresholds of added patterns by id. Others are calibrated on the ``benign`` texts if there are any,
                else NEW_THRESHOLD.

        Raises:
            ConfigError: an added pattern does not fit or its id is taken; a removed id is not in the bank.
        """
        gone, new = set(removed), list(added)
        kept = [k for k, pattern in enumerate(self.patterns) if pattern.id not in gone]
        unknown = gone - {pattern.id for pattern in self.patterns}
        if unknown:
            raise ConfigError("removed", sorted(unknown), "ids of patterns in the bank")
        taken = {self.patterns[k].id for k in kept}
        for pattern in new:
            problem = check(pattern)
            if pattern.id in taken:
                problem = "an id that is not taken"
            if problem:
                raise ConfigError(f"pattern {pattern.id}", pattern.text, problem)
            taken.add(pattern.id)
        given = dict(limits or {})
        values = [*self.limits[kept].tolist(), *(given.get(pattern.id, NEW_THRESHOLD) for pattern in new)]
        change = repr((self.version, sorted(gone), new, sorted(given.items()), list(benign)))
        version = hashlib.sha256(change.encode()).hexdigest()
        bank = Bank.build(
            [*(self.patterns[k] for k in kept), *new], self.lexicon, np.array(values, np.float32), version
        )
        if not benign:
            return bank
        fresh = {pattern.id for pattern in new} - given.keys()
        chosen = np.array([pattern.id in fresh for pattern in bank.patterns])
        learnt = thresholds.calibrate(bank.index, benign, chosen=chosen)
        return replace(bank, limits=np.where(chosen, learnt, bank.limits))

    def calibrated(self, benign: Sequence[str], alike: Sequence[str] = (), *, threads: int = 1) -> Bank:
        """This bank with thresholds learnt from ``benign`` texts and from look-alikes of attacks, ``alike``;
        `thresholds.pack` makes them the artefact."""
        return replace(self, limits=thresholds.calibrate(self.index, benign, alike=alike, threads=threads))

    def match(self, windows: Windows, *, threads: int = 1, place: Place = HOST) -> Matches:
        """Match W ``windows``, the alignment in ``place``; a window's result depends on that window only."""
        n = len(windows)
        margin, best = np.empty(n, np.float32), np.empty(n, np.int32)
        margin.fill(-1.0)
        best.fill(-1)
        survey = self.index.survey(windows.values, windows.offsets, self._need, threads=threads)
        if not len(survey.windows):
            return Matches(margin, best, [])
        near: list[tuple[Alignment, F32]] = []
        for aligned in self.index.align(survey, threads=threads, place=place):
            above, strength = candidates.margins(
                aligned.window, aligned.pattern, aligned.distance, self.limits, SLACK, margin, best
            )
            if len(above):
                near.append((aligned.take(above), strength))
        if not near:
            return Matches(margin, best, [])
        within, strength = near[0]
        if len(near) > 1:
            within = Alignment.joined([part for part, _ in near])
            strength = np.concatenate([part for _, part in near])
        order = candidates.strongest(within.window, within.pattern, strength, n, MAX_CANDIDATES)
        within, strength = within.take(order), strength[order]
        sure = self.index.confirm(survey, within)
        kept = candidates.kept(within.window, within.pattern, strength, sure, MAX_HITS, margin, best)
        within, strength = within.take(kept), strength[kept]
        base = survey.offsets[within.window]
        begins, stops = survey.starts[base + within.start], survey.ends[base + within.end]
        columns = (column.tolist() for column in (within.window, within.pattern, strength, begins, stops))
        return Matches(margin, best, [Hit(*row) for row in zip(*columns, strict=True)])


def _place(pattern: Pattern) -> tuple[bool, str, str]:
    # Patterns of one language and threat share words, so they share blocks of the index.
    return pattern.lang != "en", pattern.lang, pattern.id


@cache
def _shipped() -> Bank:
    return _read(data.path(SYNONYMS).parent, index_file.read)


def _read(home: Path, made: Callable[[str], Index | None] = lambda version: None) -> Bank:
    # The bank in a folder, without its thresholds; ``made`` gives its tables where there are some of that version.
    files = sorted((home / FOLDER).glob("*.toml"))
    if not files:
        raise ArtefactError(home / FOLDER, "holds no pattern files")
    digest = hashlib.sha256()
    patterns: list[Pattern] = []
    seen: dict[str, Path] = {}
    for file in files:
        content = file.read_bytes()
        digest.update(file.name.encode() + b"\0" + content + b"\0")
        for pattern in parse(file, content):
            if pattern.id in seen:
                raise ArtefactError(file, f"pattern {pattern.id}: the id is taken in {seen[pattern.id].name}")
            seen[pattern.id] = file
            patterns.append(pattern)
    synonyms = home / SYNONYMS
    if not synonyms.exists():
        raise ArtefactError(synonyms, "is missing")
    content = synonyms.read_bytes()
    digest.update(content)
    limits, version = np.full(len(patterns), NEW_THRESHOLD, np.float32), digest.hexdigest()
    read_lexicon = cache(lambda: Lexicon.parse(synonyms, content))
    if (index := made(version)) is not None:
        return Bank._of(tuple(sorted(patterns, key=_place)), read_lexicon, limits, version, index)
    try:
        return Bank.build(patterns, read_lexicon(), limits, version)
    except ConfigError as error:
        at_fault = seen.get(error.key.removeprefix("pattern "))
        if at_fault is None:  # a setting, not a pattern
            raise
        raise ArtefactError(at_fault, str(error)) from error
