"""Unwrapping: the decoders applied to the rows that call for them, their results judged, nested ones followed, all of
it bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from aimds.detect.normalize import blobs, candidates, ciphers, compressed, letters, respacing, word_decoders
from aimds.detect.normalize.decoders import DECODERS
from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import Folded, fold
from aimds.detect.normalize.proposals import Bytes, Proposal, Text, Trust, joined
from aimds.detect.normalize.spelling import respell
from aimds.detect.normalize.vocabulary import Vocabulary, text_odds
from aimds.errors import ConfigError

KINDS: tuple[str, ...] = (
    "text", "base64", "base32", "base85", "hex", "binary", "decimal", "url", "html", "unicode_escape",
    "quoted_printable", "rot13", "caesar", "atbash", "reversed", "upside_down", "morse", "nato", "pig_latin", "tags",
    "variation_selectors", "concatenation", "spread", "rejoined", "leetspeak", "ordinal", "braille",
    "uuencode", "punycode", "octal", "rot47", "polybius", "bacon", "respaced",
    "base58", "base62", "base36", compressed.KIND,
)  # fmt: skip
"""What a view is: the text itself, or what it was decoded from."""

MIN_NATS = 6.0
MIN_NATS_BETTER = 9.0
MIN_NATS_PROSE = 15.0
MIN_BLANKS_PROSE = 4
MIN_GOOD_SHARE = 0.85
MIN_TEXT = 4
MAX_PROPOSALS = 1024
"""Decoded runs of one kind that are looked at in one text."""

OPAQUE = (
    candidates.BASE64 | candidates.BASE32 | candidates.HEX | candidates.BASE85 | candidates.BINARY
    | candidates.TURNED_BLOB | candidates.ROTATED_BLOB | candidates.UUENCODE
)  # fmt: skip
"""Encodings whose mere presence below the last depth means that something was left undecoded."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one row may be unwrapped into; what they cut off sets ``truncated``.

    Args:
        max_depth: decodings inside one another.
        max_views: decoded views kept per row.
        max_view_bytes: bytes of one decoded view.
        max_row_bytes: decoded bytes looked at per row, kept or not.

    Raises:
        ConfigError: a negative bound.
    """

    max_depth: int = 2
    max_views: int = 8
    max_view_bytes: int = 65_536
    max_row_bytes: int = 524_288

    def __post_init__(self) -> None:
        for name in ("max_depth", "max_views", "max_view_bytes", "max_row_bytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"limits.{name}", getattr(self, name), "a whole number of at least 0")


@dataclass(frozen=True, slots=True)
class Opened:
    """One decoded text that reads like text, folded: ``folded`` has one row, its offsets are bytes of ``text``."""

    kind: str
    depth: int
    text: Text
    folded: Folded


@dataclass(slots=True)
class Unwrapping:
    """The unwrapping of one row: ``opened`` in the order found, ``truncated`` when a bound cut something off."""

    limits: Limits
    vocabulary: Vocabulary
    opened: list[Opened] = field(default_factory=list)
    truncated: bool = False
    _seen: set[bytes] = field(default_factory=set)
    _bytes_left: int = 0
    _inflated_left: int = 0

    def run(
        self, raw: Bytes, kept: Text, folded: Text, flags: int, mask: int, stretches: list[tuple[int, int, int]]
    ) -> None:
        """Unwrap one row.

        Args:
            raw: uint8 (N,), the row as it came.
            kept: the row folded with its case.
            folded: the row folded.
            flags: what folding met, bits of `Flag`.
            mask: bits of `aimds.detect.normalize.candidates` and `aimds.detect.normalize.ciphers`.
            stretches: (transformation, start, end) in ``folded``.
        """
        self._bytes_left = self._inflated_left = self.limits.max_row_bytes
        self._seen = {kept.values.tobytes()}
        if not self.limits.max_depth:
            return
        foreign = folded.ends - folded.starts > 1
        written = word_decoders.leetspeak(kept, self.limits.max_view_bytes) if flags & Flag.LEET else []
        proposals = self._disguised(raw, flags) + written + self._proposals(kept, folded, mask, stretches, foreign)
        self._follow(proposals, folded.values, 1)

    def _disguised(self, raw: Bytes, flags: int) -> list[Proposal]:
        limit = self.limits.max_view_bytes
        found: list[Proposal] = []
        if flags & (Flag.TAGS | Flag.VARIATION):
            found += word_decoders.hidden(raw, limit)
        if flags & Flag.DISGUISE:
            found += word_decoders.upside_down(raw.tobytes(), limit)
        return found

    def _proposals(
        self,
        kept: Text,
        folded: Text,
        mask: int,
        stretches: list[tuple[int, int, int]],
        foreign: npt.NDArray[np.bool_],
    ) -> list[Proposal]:
        limit = self.limits.max_view_bytes
        found: list[Proposal] = []
        for bit, decode in DECODERS:
            if mask & bit:
                some = list(islice(decode(kept, limit), MAX_PROPOSALS + 1))
                self.truncated |= len(some) > MAX_PROPOSALS
                found += [self._plain(one, limit) for one in some[:MAX_PROPOSALS]]
        cased = _with_case(folded, kept)
        rotated = [one.text for one in found if one.kind == "rot47"]
        for kind, start, stop in stretches:
            if any(one.starts[0] <= folded.starts[start] and folded.ends[stop - 1] <= one.ends[-1] for one in rotated):
                continue  # the letters that ROT47 leaves are no cipher of their own
            if word_decoders.is_reversal(kind):
                found += word_decoders.turned_round(cased, start, stop)
            else:
                found.append(word_decoders.shifted(cased, start, stop, kind, foreign))
        if mask & ciphers.NATO:
            found += word_decoders.spelling_alphabet(folded, limit)
        if mask & ciphers.TURNED_SCRIPT:
            found += word_decoders.turned_script(cased, limit)
        if mask & ciphers.RESPACED:
            found += respacing.respaced(cased, folded, self.vocabulary, limit)
        if mask & ciphers.PIG_LATIN:
            found += word_decoders.pig_latin(folded, self.vocabulary, limit)
        return found

    def _plain(self, proposal: Proposal, limit: int) -> Proposal:
        # Of a hundred bytes there may be a hundred thousand, so what is decompressed has a bound of its own.
        read, made = compressed.read(proposal, min(limit, self._inflated_left))
        self._inflated_left -= made
        if made:
            self.truncated |= not self._inflated_left or compressed.begins(read.text.values)
        return read

    def _follow(self, proposals: list[Proposal], before: Bytes, depth: int) -> None:
        # What is accepted of one kind becomes one view, so that a payload in pieces is read whole.
        accepted: dict[str, list[Text]] = {}
        inner: list[tuple[Text, Folded]] = []
        for proposal in proposals:
            for reading in (proposal.text, proposal.otherwise):
                if reading is None:
                    continue
                if self._bytes_left <= 0:
                    self.truncated = True
                    break
                text, good = _cleaned(reading)
                self.truncated |= proposal.cut and len(text) > len(reading) // 2
                self._bytes_left -= len(reading)
                key = text.values.tobytes()
                if not good or key in self._seen:
                    continue
                self._seen.add(key)
                folded = self._folded(text)
                reads = self._reads(proposal.trust, folded.values, before)
                if reads:
                    accepted.setdefault(proposal.kind, []).append(text)
                # Words put anew hold nothing that the text they came from does not.
                if proposal.kind != "respaced" and (reads or proposal.trust is not Trust.PROSE):
                    inner.append((text, folded))
                if reads:
                    break
        for kind, parts in accepted.items():
            # Both readings of reversed text are views of their own; everything else is joined.
            for group in [[part] for part in parts] if kind == "reversed" else [parts]:
                self._open(kind, joined(group), depth)
        for text, folded in inner:
            self._descend(text, folded, depth)

    def _goes_on(self, proposals: list[Proposal], before: Bytes) -> bool:
        # Whether one of the proposals, which are a level too deep to be followed, reads or is enciphered in its turn.
        left = self.limits.max_row_bytes
        for proposal in proposals:
            for reading in (proposal.text, proposal.otherwise):
                if reading is None or proposal.trust is Trust.PROSE:
                    continue
                if left <= 0:
                    return True
                left -= len(reading)
                text, good = _cleaned(reading)
                if not good or text.values.tobytes() in self._seen:
                    continue
                folded = self._folded(text)
                if self._reads(proposal.trust, folded.values, before):
                    return True
                deeper = ciphers.stretches(folded.values, folded.offsets, self.vocabulary)
                if len(deeper.row) or candidates.candidates(text.values, _one(text))[0] & OPAQUE:
                    return True
        return False

    def _open(self, kind: str, text: Text, depth: int) -> None:
        if len(self.opened) >= self.limits.max_views:
            self.truncated = True
            return
        if len(text) > self.limits.max_view_bytes:
            self.truncated = True
            text, _ = _cleaned(text.slice(0, self.limits.max_view_bytes))
        self._seen.add(text.values.tobytes())
        folded = self._folded(text, slips=True)
        self.opened.append(Opened(kind, depth, text, folded))

    def _folded(self, text: Text, *, slips: bool = False) -> Folded:
        folded = fold(text.values, _one(text), self.vocabulary)
        return respell(folded, text.values, _one(text), self.vocabulary, slips=slips)

    def _descend(self, text: Text, folded: Folded, depth: int) -> None:
        # How wide a gap was is not known of what was decoded.
        mask = int(candidates.candidates(text.values, _one(text))[0]) & ~candidates.SPREAD
        last = depth >= self.limits.max_depth
        if last and (self.truncated or mask & OPAQUE):
            self.truncated = True
            return
        found = ciphers.stretches(folded.values, folded.offsets, self.vocabulary)
        self.truncated |= bool(found.cut[0])
        mask |= int(found.masks[0])
        proposals = [_mapped(proposal, text) for proposal in self._disguised(text.values, int(folded.flags[0]))]
        if mask or len(found.row):
            inner = text.take(folded.values, folded.starts.astype(np.int64), folded.ends.astype(np.int64) - 1)
            places = list(zip(found.kind.tolist(), found.start.tolist(), found.end.tolist(), strict=True))
            proposals += self._proposals(text, inner, mask, places, folded.ends - folded.starts > 1)
        if last:
            self.truncated |= self._goes_on(proposals, folded.values)
        elif proposals:
            self._follow(proposals, folded.values, depth + 1)

    def _reads(self, trust: Trust, values: Bytes, before: Bytes) -> bool:
        if trust is Trust.NONE:
            return True
        if trust is Trust.PRINTABLE:
            return len(values) >= MIN_TEXT
        odds, words, known = text_odds(values, 0, len(values), *self.vocabulary.words)
        if trust is Trust.LETTERS and letters.is_plain(values):
            return True
        if trust is Trust.SPEECH and letters.is_language(values):
            return True
        if trust is Trust.BETTER:
            was, _, _ = text_odds(before, 0, len(before), *self.vocabulary.words)
            return bool(odds >= was + MIN_NATS_BETTER) or letters.is_foreign(values) > letters.is_foreign(before)
        if trust is Trust.PROSE:
            return bool(odds >= MIN_NATS_PROSE and int((values == 32).sum()) >= MIN_BLANKS_PROSE)
        return bool(odds >= MIN_NATS and 2 * known >= words) or letters.is_foreign(values)


def _one(text: Text) -> npt.NDArray[np.int64]:
    return np.array([0, len(text)], np.int64)


def _mapped(proposal: Proposal, source: Text) -> Proposal:
    # A proposal with places in ``source`` as one with places in the row.
    text = proposal.text
    return replace(proposal, text=source.take(text.values, text.starts, text.ends - 1))


def _cleaned(text: Text) -> tuple[Text, bool]:
    # (valid UTF-8 without control characters, whether it is text at all). A tail that is no text is cut off.
    values, bad, first = blobs.clean(text.values)
    if bad > (1 - MIN_GOOD_SHARE) * len(values):
        values, bad = values[:first], 0
        text = text.slice(0, int(first))
    keep = values != 0
    if not keep.all():
        values = values[keep]
        text = Text(values, text.starts[keep], text.ends[keep])
    good = len(values) >= MIN_TEXT
    return Text(values, text.starts, text.ends), good


def _with_case(folded: Text, kept: Text) -> Text:
    # The folded text with the capitals that stand at the same original place.
    at = np.searchsorted(kept.starts, folded.starts)
    at = np.minimum(at, max(0, len(kept) - 1))
    if not len(kept):
        return folded
    capital = kept.values[at]
    same = (kept.starts[at] == folded.starts) & (capital >= 65) & (capital <= 90) & (capital + 32 == folded.values)
    return Text(np.where(same, capital, folded.values).astype(np.uint8), folded.starts, folded.ends)
