"""Signatures matched over a batch: special tokens, hidden characters, exfiltration, overrides, leaks, and more.

The signatures are rows of ``data/signatures.toml``. One Aho–Corasick pass over all folded views finds the anchors;
regular expressions run only on views that hold one.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.anchors import Anchors, Hits
from aimds.detect.evidence import Evidence
from aimds.detect.normalize import Views
from aimds.detect.rules.shape import repetitions, suffixes
from aimds.detect.rules.signatures import Signature, compiled, forms, parse
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SUFFIX_SCORE = 9
"""Least score of `aimds.detect.rules.shape.suffixes` that counts."""
ENCODED_SCORE = 0.7
"""Least score of a signature in a decoded view that makes the encoding itself evidence."""

_BEFORE_A_SENTENCE = frozenset(b" \t\r\n.,:;?)>")
_UNTRUSTED = tuple(CHANNELS.index(name) for name in UNTRUSTED_CHANNELS)


class Rules:
    """All signatures of one file, ready to scan batches; immutable."""

    def __init__(self, signatures: tuple[Signature, ...], version: str, name: str = "signatures.toml") -> None:
        self.version = version
        self.signatures = signatures
        self._regex = [compiled(s, name) if s.regex else None for s in signatures]
        self._encoded = next((i for i, s in enumerate(signatures) if s.native == "encoded"), None)
        self._folded = _Index([(i, s) for i, s in enumerate(signatures) if s.anchors and not s.raw], loose=True)
        self._raw = _Index([(i, s) for i, s in enumerate(signatures) if s.anchors and s.raw], loose=False)
        self._flagged = [(i, s.flags) for i, s in enumerate(signatures) if s.flags]

    @classmethod
    def load(cls, path: Path | None = None) -> Rules:
        """The signatures of ``path`` (default: the shipped file).

        Raises:
            ArtefactError: the file is damaged; names the signature.
        """
        name = str(path or "signatures.toml")
        raw = data.read_bytes("signatures.toml") if path is None else path.read_bytes()
        return cls(parse(raw, name), sha256(raw).hexdigest()[:12], name)

    def scan(self, texts: tuple[U8, I64], views: Views, channels: npt.NDArray[np.int8]) -> list[Evidence]:
        """What the signatures find in B rows, at most once per row and signature, in order of row and signature.

        Args:
            texts: raw UTF-8 bytes of the rows, uint8 (N,), and their offsets, int64 (B+1,).
            views: the views of the same rows.
            channels: int8 (B,), index into `aimds.schema.CHANNELS`.
        """
        found: dict[tuple[int, int], tuple[int, int]] = {}
        hidden: dict[int, tuple[float, int, int, int]] = {}
        for number, view, start, end in self._in_views(views, channels):
            row = int(views.rows[view])
            if views.depths[view] and (row, number) not in found and self.signatures[number].score >= ENCODED_SCORE:
                candidate = (self.signatures[number].score, view, start, end)
                hidden[row] = max(hidden.get(row, (0.0, 0, 0, 0)), candidate)
            found.setdefault((row, number), views.span(view, start, end))
        for number, row, start, end in self._in_rows(texts, views, channels):
            found.setdefault((row, number), (start, end))
        if self._encoded is not None:
            for row, (_, view, start, end) in hidden.items():
                found[row, self._encoded] = views.span(view, start, end)
        return [
            Evidence(row, "rules", s.id, _threat(s.threat, int(channels[row])), *found[row, number], s.score)
            for row, number in sorted(found)
            for s in (self.signatures[number],)
        ]

    def _in_views(self, views: Views, channels: npt.NDArray[np.int8]) -> Iterator[tuple[int, int, int, int]]:
        # In order of view, so that what stands in the text as written is found before what was decoded.
        hits, pairs = self._folded.find(views.values, views.offsets)
        text, at = b"", -1
        for view, number, first in pairs:
            signature = self.signatures[number]
            if signature.channels and int(channels[views.rows[view]]) not in signature.channels:
                continue
            regex = self._regex[number]
            if regex is None:
                yield number, view, int(hits.start[first]), int(hits.end[first])
                continue
            if view != at:
                text, at = views.values[views.offsets[view] : views.offsets[view + 1]].tobytes(), view
            match = regex.search(text)
            if match is not None:
                yield number, view, *_trimmed(text, *match.span())

    def _in_rows(
        self, texts: tuple[U8, I64], views: Views, channels: npt.NDArray[np.int8]
    ) -> Iterator[tuple[int, int, int, int]]:
        values, offsets = texts
        rows = len(offsets) - 1
        candidates: list[tuple[int, int]] = []
        for number, flags in self._flagged:
            candidates += [(number, row) for row in np.flatnonzero(views.flags[:rows] & flags).tolist()]
        candidates += [(number, row) for row, number, _ in self._raw.find(values, offsets)[1]]
        for number, row in candidates:
            signature, regex = self.signatures[number], self._regex[number]
            if regex is None or (signature.channels and int(channels[row]) not in signature.channels):
                continue
            raw = values[offsets[row] : offsets[row + 1]].tobytes()
            match = regex.search(raw)
            if match is not None:
                yield number, row, *_trimmed(raw, *match.span())
        yield from self._in_shape(values, offsets)

    def _in_shape(self, values: U8, offsets: I64) -> Iterator[tuple[int, int, int, int]]:
        for number, signature in enumerate(self.signatures):
            if signature.native == "suffix":
                torn = suffixes(values, offsets)
                for row in np.flatnonzero(torn[:, 0] >= SUFFIX_SCORE).tolist():
                    yield number, row, int(torn[row, 1]), int(torn[row, 2])
            elif signature.native == "repetition":
                for row, start, end in repetitions(values, offsets).tolist():
                    yield number, row, start, end


class _Index:
    """Anchors of some signatures → (text, signature, first hit) candidates."""

    def __init__(self, rows: list[tuple[int, Signature]], *, loose: bool) -> None:
        owners: dict[bytes, list[int]] = {}
        for number, signature in rows:
            for literal in signature.anchors:
                for form in forms(literal) if loose else (literal,):
                    owners.setdefault(form.encode(), []).append(number)
        self._anchors = Anchors(owners)
        listed = [sorted(set(owners[literal])) for literal in self._anchors.literals]
        self._counts = np.array([len(x) for x in listed], np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._numbers = np.array([n for x in listed for n in x], np.int64)

    def find(self, values: U8, offsets: I64) -> tuple[Hits, list[tuple[int, int, int]]]:
        """Hits, and (text, signature, index of the first hit) in order of text and signature."""
        hits = self._anchors.find(values, offsets)
        # One occurrence of a literal in a text is as good as a million.
        _, once = np.unique(hits.text * len(self._counts) + hits.literal, return_index=True)
        once.sort()
        counts = self._counts[hits.literal[once]]
        index = np.repeat(once, counts)
        within = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
        number = self._numbers[self._starts[hits.literal[index]] + within]
        width = int(self._numbers.max(initial=0)) + 1
        keys, first = np.unique(hits.text[index] * width + number, return_index=True)
        return hits, list(zip((keys // width).tolist(), (keys % width).tolist(), index[first].tolist(), strict=True))


def _trimmed(text: bytes, start: int, end: int) -> tuple[int, int]:
    # A match may begin with the punctuation and space that show where a sentence starts.
    while start + 1 < end and text[start] in _BEFORE_A_SENTENCE:
        start += 1
    return start, end


def _threat(threat: str, channel: int) -> str:
    return "indirect_injection" if threat == "direct_injection" and channel in _UNTRUSTED else threat
