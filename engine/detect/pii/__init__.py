"""Personal data and secrets: exact byte spans, by pattern, checksum and context, over a whole batch.

The patterns are rows of ``data/pii.toml``. Names and postal addresses need a model and are not found here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.anchors import Anchors, Hits, lower
from aimds.detect.evidence import Span
from aimds.detect.normalize import Flag, Views
from aimds.detect.pii.columns import Columns
from aimds.detect.pii.conditions import Conditions
from aimds.detect.pii.identifiers import KINDS, Definitions, Kind, Pattern, parse
from aimds.detect.rowwise import any_bit
from aimds.detect.triage import triage

__all__ = ["KINDS", "Kind", "Pii"]

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# A row with one of these plays tricks with characters, so its folded text is searched as well.
TRICKS = int(Flag.ZERO_WIDTH | Flag.TAGS | Flag.BIDI | Flag.VARIATION | Flag.CONFUSABLE | Flag.COMBINING | Flag.SPACED)

_ODD = TRICKS | int(Flag.NON_ASCII)
_DIGITS = b"0123456789"


class _Found(NamedTuple):
    start: int
    end: int
    kind: Kind
    score: float


class Pii:
    """All patterns of one file, ready to scan batches; immutable."""

    def __init__(self, definitions: Definitions, version: str) -> None:
        self.version = version
        self.kinds = definitions.kinds
        self.patterns = definitions.patterns
        contexts = [[w.encode() for w in words] for words in definitions.contexts.values()]
        anchors = [[a.encode() for a in p.anchors] for p in self.patterns]
        self._literals = Anchors(chain.from_iterable(anchors), chain.from_iterable(contexts))
        self._groups = {name: i for i, name in enumerate(definitions.contexts)}
        self._context_masks = [self._literals.mask(words, words=True) for words in contexts]
        self._conditions = Conditions(
            self.patterns,
            np.array([self._literals.mask(literals) for literals in anchors]),
            np.array(self._context_masks),
            self._groups,
        )

    @classmethod
    def load(cls, path: Path | None = None) -> Pii:
        """The patterns of ``path`` (default: the shipped file).

        Raises:
            ArtefactError: the file is damaged; names the row.
        """
        raw = data.read_bytes("pii.toml") if path is None else path.read_bytes()
        return cls(parse(raw, str(path or "pii.toml")), sha256(raw).hexdigest()[:12])

    def scan(self, texts: tuple[U8, I64], views: Views) -> list[Span]:
        """Personal data and secrets in B rows, in order of row and start; spans of one row do not overlap.

        Args:
            texts: raw UTF-8 bytes of the rows, uint8 (N,), and their offsets, int64 (B+1,).
            views: the views of the same rows; decoded ones are searched too and their findings mapped back.
        """
        values, offsets = texts
        found: dict[int, list[_Found]] = {}
        features = triage(values, offsets)
        for row, item in self._search(np.ascontiguousarray(values), offsets, features, folded=False):
            found.setdefault(row, []).append(item)
        if views.decoded:
            pieces = [np.frombuffer(d.text, np.uint8) for d in views.decoded]
            ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
            joined = np.concatenate(pieces)
            for i, item in self._search(joined, ends, triage(joined, ends), folded=False):
                decoded = views.decoded[i]
                span = int(decoded.starts[item.start : item.end].min()), int(decoded.ends[item.start : item.end].max())
                found.setdefault(decoded.row, []).append(_Found(*span, item.kind, item.score))
        for row, item in self._folded(views, features):
            found.setdefault(row, []).append(item)
        return [Span(row, f.start, f.end, f.kind.name, f.score) for row in sorted(found) for f in _resolve(found[row])]

    def _folded(self, views: Views, features: npt.NDArray[np.int32]) -> Iterator[tuple[int, _Found]]:
        # Folding turns full-width digits, soft separators and characters hidden inside a number into plain text.
        if not any_bit(views.flags, _ODD):
            return
        odd = np.flatnonzero(views.flags & np.uint32(_ODD))
        lengths = views.offsets[odd + 1] - views.offsets[odd]
        ends = np.zeros(len(odd) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        values = views.values[np.arange(ends[-1]) + np.repeat(views.offsets[odd] - ends[:-1], lengths)]
        clear = triage(values, ends)
        tricky = (views.flags[odd] & TRICKS) != 0
        gained = (clear > features[odd]).any(axis=1)
        clear[~(tricky | gained)] = 0
        for i, item in self._search(values, ends, clear, folded=True):
            view = int(odd[i])
            start, end = views.span(view, item.start, item.end)
            yield view, _Found(start, end, item.kind, item.score)

    def _search(
        self, values: U8, offsets: I64, features: npt.NDArray[np.int32], *, folded: bool
    ) -> Iterator[tuple[int, _Found]]:
        small = values if folded else lower(values)
        hits = self._literals.find(small, offsets)
        tables: dict[int, Columns] = {}
        for number, text in self._conditions.candidates(features, hits, folded=folded):
            raw = values[offsets[text] : offsets[text + 1]].tobytes()
            for item in self._matches(self.patterns[number], raw, text, hits, tables):
                yield text, item

    def _matches(
        self, pattern: Pattern, raw: bytes, text: int, hits: Hits, tables: dict[int, Columns]
    ) -> Iterator[_Found]:
        kind = self.kinds[pattern.kind]
        group = 1 if pattern.regex.groups else 0
        position = used = 0
        while (match := pattern.regex.search(raw, position)) is not None:
            start, end = match.span(group)
            position = max(end, position + 1)
            if _continues(raw, start, end):
                continue
            value = raw[start:end].decode("utf-8", "replace")
            passed = pattern.check is None or pattern.check(value)
            score = pattern.score if passed else pattern.unchecked
            if pattern.context and (passed or score):
                named = self._groups[pattern.context]
                before = pattern.before if pattern.before >= 0 else len(raw)
                before = min(before, start - used) if pattern.once else before
                wanted = self._context_masks[named]
                near = hits.near(text, named, wanted, start, end, before, pattern.after)
                if not near and b"\n" in raw:
                    columns = tables.setdefault(text, Columns(raw))
                    near = any(
                        hits.near(text, named, wanted, high, high, high - low, 0)
                        for low, high in columns.headings(start)
                    )
                score = score if near else (pattern.bare if passed else 0.0)
            if score:
                used = end
                yield _Found(start, end, kind, score)


def _continues(raw: bytes, start: int, end: int) -> bool:
    # A number that goes on behind a dot or hyphen (1.2.3.4.5, 12-345-67-89-0) is a part of something longer.
    if 1 < start < end and raw[start - 1] in b".-/" and raw[start] in _DIGITS and raw[start - 2] in _DIGITS:
        return True
    return end + 1 < len(raw) and raw[end] in b".-/" and raw[end - 1] in _DIGITS and raw[end + 1] in _DIGITS


def _resolve(found: list[_Found]) -> list[_Found]:
    """What stays of findings that overlap: the higher priority, then the longer, then the surer; ordered by start."""
    out: list[_Found] = []
    cluster: list[_Found] = []
    reach = 0
    for item in sorted(found, key=lambda f: (f.start, f.end)):
        if cluster and item.start >= reach:
            out += _strongest(cluster)
            cluster = []
        cluster.append(item)
        reach = max(reach, item.end) if len(cluster) > 1 else item.end
    return out + _strongest(cluster)


def _strongest(cluster: list[_Found]) -> list[_Found]:
    if len(cluster) < 2:
        return cluster
    taken: list[_Found] = []
    for item in sorted(cluster, key=lambda f: (-f.kind.priority, f.start - f.end, -f.score, f.start, f.kind.name)):
        i = bisect_left(taken, item.start, key=lambda f: f.start)
        if (i < len(taken) and taken[i].start < item.end) or (i and taken[i - 1].end > item.start):
            continue
        taken.insert(i, item)
    return taken
