"""What decoders give: a text with its way back to the row, and how far to believe it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

MEAN_WORD = 9
"""Letters that the words of spelt letters may have on the mean."""


@dataclass(frozen=True, slots=True)
class Text:
    """``values`` uint8 (N,) with ``starts`` and ``ends`` int32 (N,): the original byte range in the row behind each
    byte.
    """

    values: Bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> Text:
        """Bytes ``start`` to ``stop``."""
        return Text(self.values[start:stop], self.starts[start:stop], self.ends[start:stop])

    def take(self, values: Bytes, first: Places | Ints, last: Places | Ints) -> Text:
        """``values`` (M,) of which byte k came from this text's bytes ``first[k]`` to ``last[k]``, both included."""
        # Reversed text runs against the row, so the earlier of both ends is where it starts.
        starts = np.minimum(self.starts[first], self.starts[last])
        return Text(values, starts, np.maximum(self.ends[first], self.ends[last]))


class Trust(enum.Enum):
    """What a proposal must show. WORDS: known words, or letters of another script. LETTERS: as WORDS, or hardly
    anything but letters and blanks, which noise is not under this encoding. SPEECH: as WORDS, or letters that follow
    each other as in a language. PRINTABLE: only that it is text; nobody hides noise. BETTER: more known words than the
    text it came from. PROSE: a sentence, not a list of names. NONE: was shown already.
    """

    WORDS = enum.auto()
    LETTERS = enum.auto()
    SPEECH = enum.auto()
    PRINTABLE = enum.auto()
    BETTER = enum.auto()
    PROSE = enum.auto()
    NONE = enum.auto()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One decoded text; ``cut``: its end was left out; ``otherwise``: how to read it where ``text`` does not read."""

    kind: str
    text: Text
    trust: Trust = Trust.WORDS
    cut: bool = False
    otherwise: Text | None = None


def joined(parts: list[Text], gap: int = 10) -> Text:
    """``parts`` as one text, the byte ``gap`` between two of them; it stands for what lay between them."""
    if len(parts) == 1:
        return parts[0]
    values: list[Bytes] = []
    starts: list[Ints] = []
    ends: list[Ints] = []
    for before, part in zip([None, *parts], parts, strict=False):
        if before is not None:
            low, high = sorted((int(before.ends[-1]), int(part.starts[0])))
            values.append(np.array([gap], np.uint8))
            starts.append(np.array([min(low, high - 1)], np.int32))
            ends.append(np.array([high], np.int32))
        values.append(part.values)
        starts.append(part.starts)
        ends.append(part.ends)
    return Text(np.concatenate(values), np.concatenate(starts), np.concatenate(ends))


def spelled(
    kind: str,
    source: Text,
    letters: list[tuple[str, int, int]],
    *,
    wide: int,
    cut: bool,
    trust: Trust = Trust.WORDS,
    gaps: list[bool] | None = None,
) -> Proposal:
    """``letters`` (letter, start, end) as text.

    Gaps of ``wide`` bytes, line breaks and signs part words. Where there are none, or where they leave more letters
    together than words have on the mean, each letter stands alone: folding joins and cuts them by frequency. So it
    does where the words do not read, as the gaps then are wrapped lines, and first where all words have one length.
    ``gaps``: which of the gaps between two letters part words, where that is known otherwise.
    """

    def is_gap(before: int, after: int) -> bool:
        between = source.values[before:after].tobytes()
        return after - before >= wide or not between.isspace() or b"\n" in between

    if gaps is None:
        gaps = [is_gap(a[2], b[1]) for a, b in pairwise(letters)]
    apart = _spaced(source, letters, [True] * len(gaps))
    ends = [k for k, gap in enumerate([*gaps, True], 1) if gap]
    if len(letters) > MEAN_WORD * len(ends) or len(ends) == 1:
        return Proposal(kind, apart, trust, cut=cut)
    together = _spaced(source, letters, gaps)
    # Groups of one size are wrapped lines, whatever stands between them.
    wrapped = len({end - begin for begin, end in pairwise([0, *ends[:-1]])}) == 1 < len(ends) - 1
    first, second = (apart, together) if wrapped else (together, apart)
    return Proposal(kind, first, trust, cut=cut, otherwise=second)


def _spaced(source: Text, letters: list[tuple[str, int, int]], gaps: list[bool]) -> Text:
    values, first, last = [], [], []
    for k, (letter, begin, end) in enumerate(letters):
        values.append(ord(letter))
        first.append(begin)
        last.append(end - 1)
        if k < len(gaps) and gaps[k]:
            values.append(32)
            first.append(end)
            last.append(letters[k + 1][1] - 1)
    return source.take(np.array(values, np.uint8), np.array(first, np.int64), np.array(last, np.int64))
