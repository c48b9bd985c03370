"""Signatures matched over a batch: special tokens, hidden characters, exfiltration, overrides, leaks, and more.

The signatures are rows of ``data/signatures.toml``. One Aho–Corasick pass over all folded views finds the anchors;
regular expressions run only on views that hold one, and the words that the expression cannot match without.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, reduce
from hashlib import sha256
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import data
from aimds.detect.anchors import Anchors, Hits
from aimds.detect.evidence import Evidence
from aimds.detect.normalize import Views
from aimds.detect.rowwise import any_bit
from aimds.detect.rules import required_file
from aimds.detect.rules.grams import BITS, marked, met
from aimds.detect.rules.letters import forms
from aimds.detect.rules.required_file import Required
from aimds.detect.rules.shape import repetitions, suffixes
from aimds.detect.rules.signatures import Signature, compiled, parse
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
    """All signatures of one file, ready to scan batches; what it finds depends on the rows alone."""

    def __init__(
        self,
        signatures: tuple[Signature, ...],
        version: str,
        name: str = "signatures.toml",
        made: Required | None = None,
    ) -> None:
        self.version = version
        self.signatures = signatures
        self._name = name
        self._regex: list[Any] = [None] * len(signatures)
        if made is None:
            # What is shipped compiles; of other files it is said at once where an expression does not.
            self.compile()
        self._encoded = next((i for i, s in enumerate(signatures) if s.native == "encoded"), None)
        anchored = [(i, s) for i, s in enumerate(signatures) if s.anchors]
        required = Required.of(signatures) if made is None else made
        self._folded = _Index([(i, s) for i, s in anchored if not s.raw], required, folded=True)
        self._raw = _Index([(i, s) for i, s in anchored if s.raw], required, folded=False)
        self._flagged = [(i, s.flags) for i, s in enumerate(signatures) if s.flags]
        self._flags = reduce(or_, (flags for _, flags in self._flagged), 0)
        self._shapes = [(i, s.native) for i, s in enumerate(signatures) if s.native in ("suffix", "repetition")]

    @classmethod
    def load(cls, path: Path | None = None) -> Rules:
        """The signatures of ``path`` (default: the shipped file, read once in a process).

        Raises:
            ArtefactError: the file is damaged; names the signature.
        """
        return _shipped() if path is None else _read(path.read_bytes(), str(path))

    def compile(self) -> None:
        """Compile all expressions now, so that no text waits for one."""
        for number in range(len(self.signatures)):
            self._expression(number)

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
        heard = channels[views.rows].tolist() if pairs else []
        for view, number, first in pairs:
            if not self._heard(number, heard[view]):
                continue
            regex = self._expression(number)
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
        candidates: list[tuple[int, int]] = []
        for number, flags in self._flagged if any_bit(views.flags, self._flags) else ():
            candidates += [(number, row) for row in np.flatnonzero(views.flags & np.uint32(flags)).tolist()]
        candidates += [(number, row) for row, number, _ in self._raw.find(values, offsets)[1]]
        for number, row in candidates:
            regex = self._expression(number)
            if regex is None or not self._heard(number, int(channels[row])):
                continue
            raw = values[offsets[row] : offsets[row + 1]].tobytes()
            match = regex.search(raw)
            if match is not None:
                yield number, row, *_trimmed(raw, *match.span())
        yield from (
            found for found in self._in_shape(values, offsets) if self._heard(found[0], int(channels[found[1]]))
        )

    def _expression(self, number: int) -> Any:
        # Compiled when it is wanted for the first time; None where a signature has none.
        found, signature = self._regex[number], self.signatures[number]
        if found is None and signature.regex:
            found = self._regex[number] = compiled(signature, self._name)
        return found

    def _heard(self, number: int, channel: int) -> bool:
        only = self.signatures[number].channels
        return not only or channel in only

    def _in_shape(self, values: U8, offsets: I64) -> Iterator[tuple[int, int, int, int]]:
        for number, native in self._shapes:
            if native == "suffix":
                torn = suffixes(values, offsets)
                for row in _at_least(torn, SUFFIX_SCORE).tolist():
                    yield number, row, int(torn[row, 1]), int(torn[row, 2])
            else:
                for row, start, end in repetitions(values, offsets).tolist():
                    yield number, row, start, end


@cache
def _shipped() -> Rules:
    raw, name = data.read_bytes("signatures.toml"), "signatures.toml"
    return Rules(parse(raw, name), _version(raw), name, required_file.read(_version(raw)))


def _read(raw: bytes, name: str) -> Rules:
    return Rules(parse(raw, name), _version(raw), name)


def _version(raw: bytes) -> str:
    return sha256(raw).hexdigest()[:12]


class _Index:
    """Anchors of some signatures, and what else these need → (text, signature, first hit) candidates."""

    def __init__(self, rows: list[tuple[int, Signature]], required: Required, *, folded: bool) -> None:
        owners: dict[bytes, list[int]] = {}
        for number, signature in rows:
            for literal in signature.anchors:
                for form in forms(literal) if folded else (literal,):
                    owners.setdefault(form.encode(), []).append(number)
        self._anchors = Anchors(owners)
        listed = [sorted(set(owners[literal])) for literal in self._anchors.literals]
        self._bounds = np.cumsum([0, *map(len, listed)], dtype=np.int64)
        self._numbers = np.array([n for x in listed for n in x], np.int64)
        self._required = required

    def find(self, values: U8, offsets: I64) -> tuple[Hits, list[list[int]]]:
        """Hits, and text, signature and index of the first hit of each pair of these, in order of both.

        Pairs whose text lacks what the signature's regular expression requires are left out.
        """
        hits = self._anchors.find(values, offsets)
        if not len(hits.text):
            return hits, []
        able = _able(hits.text, hits.literal, self._bounds, self._numbers, values, offsets, *self._required)
        return hits, able.tolist()


@njit(cache=True, nogil=True)
def _at_least(torn, least):  # type: ignore[no-untyped-def]
    return np.flatnonzero(torn[:, 0] >= least)


@njit(cache=True, nogil=True)
def _first(text, literal, bounds, numbers):  # type: ignore[no-untyped-def]
    # Text, signature and first hit of each pair of text and signature, int64 (C, 3), from hits in order of text.
    room = 0
    for k in range(len(text)):
        room += bounds[literal[k] + 1] - bounds[literal[k]]
    out = np.empty((room, 3), np.int64)
    known = np.full(numbers.max() + 1, -1, np.int64)
    first = found = 0
    for k in range(len(text)):
        for at in range(bounds[literal[k]], bounds[literal[k] + 1]):
            number = numbers[at]
            if known[number] == text[k]:
                continue
            known[number] = text[k]
            if found and out[found - 1, 0] != text[k]:
                first = found
            place = found
            while place > first and out[place - 1, 1] > number:
                out[place] = out[place - 1]
                place -= 1
            out[place, 0], out[place, 1], out[place, 2] = text[k], number, k
            found += 1
    return out[:found]


@njit(cache=True, nogil=True)
def _able(text, literal, bounds, numbers, values, offsets, spans, flat):  # type: ignore[no-untyped-def]
    # Those pairs of `_first` whose text may hold what the signature requires.
    pairs = _first(text, literal, bounds, numbers)
    table = np.empty(BITS // 64, np.uint64)
    at = -1
    kept = 0
    for k in range(len(pairs)):
        owner, number = pairs[k, 0], pairs[k, 1]
        if spans[number, 0] < spans[number, 1]:
            if owner != at:
                marked(table, values, offsets[owner], offsets[owner + 1])
                at = owner
            if not met(table, flat, spans[number, 0], spans[number, 1]):
                continue
        pairs[kept] = pairs[k]
        kept += 1
    return pairs[:kept]


def _trimmed(text: bytes, start: int, end: int) -> tuple[int, int]:
    # A match may begin with the last letter of the word before, which shows that it is no negation, or with the
    # punctuation and space that show where a sentence starts.
    if start and text[start - 1] > 32 and text[start] > 32:
        letter = len(text[start : start + 4].decode("utf-8", "ignore")[:1].encode())
        if letter and text[start + letter : start + letter + 1].isspace():
            start += letter
    while start + 1 < end and text[start] in _BEFORE_A_SENTENCE:
        start += 1
    return start, end


def _threat(threat: str, channel: int) -> str:
    return "indirect_injection" if threat == "direct_injection" and channel in _UNTRUSTED else threat
