"""One text of a response that streams: windows to judge, and how much of it may leave, with what is taken out.

What was judged is held back for a while, since it may be the beginning of something: the last ``held_bytes``, a run of
letters and digits that is not over, and everything from where a span begins that reaches beyond. So a span leaves
neither whole nor in part, as long as it is found before it is longer than what is held.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimds.errors import AimdsError
from aimds.gateway.output import OutputConfig
from aimds.gateway.rows import Channel
from aimds.integrations.outcome import Spans, passes, spans
from aimds.respond.mitigate import redact
from aimds.respond.policy import Policy

LONGEST_RUN = 4096
MOST_HELD = 256 << 10
"""Bytes that a span may hold back before the response is given up: it would have to be judged anew as a whole."""
_RUN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.@")


class TooLong(AimdsError):
    """``what`` of a response has more than ``size`` bytes."""

    def __init__(self, what: str, size: int) -> None:
        self.what, self.size = what, size
        super().__init__(f"{what} of the response is longer than {size} bytes")


@dataclass(frozen=True, slots=True)
class Window:
    """``text`` is bytes ``start`` to ``stop`` of the track; ``last`` where it ends there, for all one knows."""

    start: int
    stop: int
    text: str
    last: bool


class Track:
    """State of one text. `feed` takes it in, `window` gives what to judge, `judged` takes the verdict.

    Args:
        channel: of the text.
        config: as for `/v1/screen/output`.
        json: it is the text of a JSON document, where what is put in place of a number is put in quotes.
        whole: one window at the end, and nothing leaves before.
    """

    def __init__(
        self, channel: Channel, config: OutputConfig | None = None, *, json: bool = False, whole: bool = False
    ) -> None:
        self.channel, self.config, self.json, self.whole = channel, config or OutputConfig(), json, whole
        self.again = False
        """It repeats texts that came before, and is no turn of its session."""
        self.stop = 0
        """Bytes that came."""
        self.released = 0
        """Bytes that may leave; no more do once it is ``blocked``."""
        self.blocked = False
        self.spans: Spans = []
        """What is taken out, in bytes of the track, in order."""
        self._tail, self._tail_start = bytearray(), 0
        self._judged = 0
        self._closed = self._waiting = False
        self._quoted, self._escaped, self._read = False, False, 0
        self._labels: dict[tuple[int, int], str] = {}

    @property
    def pending(self) -> bool:
        """Whether something of it has not been let go."""
        return self.released < self.stop

    def feed(self, text: str) -> None:
        """More of the text. After `close`, it goes on.

        Raises:
            TooLong: more than ``config.max_bytes``.
        """
        raw = text.encode()
        self._tail += raw
        self.stop += len(raw)
        self._closed = self._closed and not raw
        if self.stop > self.config.max_bytes:
            raise TooLong("a text", self.config.max_bytes)

    def close(self) -> None:
        """Nothing more is expected: what is there is judged, and not held back any more."""
        self._closed = True

    def window(self) -> Window | None:
        """What to judge next; None while something is being judged, or too little is new."""
        new = self.stop - self._judged
        if self._waiting or self.blocked:
            return None
        ready = self._closed and (new > 0 or self.pending)
        if not ready and (self.whole or new < self.config.step_bytes):
            return None
        self._waiting = True
        most = self.stop if self.whole else self._judged + self.config.max_new_bytes
        start = self._edge(max(min(self._judged - self.config.look_back_bytes, self.released), self._tail_start))
        stop = self._edge(min(self.stop, most))
        text = self._tail[start - self._tail_start : stop - self._tail_start].decode()
        return Window(start, stop, text, self._closed and stop == self.stop)

    def _edge(self, at: int) -> int:
        """The last beginning of a character at or before ``at``."""
        while 0 < at - self._tail_start < len(self._tail) and self._tail[at - self._tail_start] & 0xC0 == 0x80:
            at -= 1
        return at

    def judged(self, window: Window, verdict: Mapping[str, Any], policy: Policy) -> None:
        """Take ``verdict`` on ``window``, given under ``policy``.

        Raises:
            TooLong: see MOST_HELD.
        """
        self._waiting, self._judged = False, window.stop
        if not passes(policy, verdict):
            self.blocked = True
            return
        found = [(start + window.start, end + window.start, kind) for start, end, kind in spans(policy, verdict)]
        if verdict["status"] == "ok":
            # What is not let go yet has been looked at anew, with more around it.
            kept = [span for span in self.spans if span[0] < max(window.start, self.released)]
        else:
            kept = self.spans
        self.spans = _apart([*kept, *(span for span in found if span[1] > self.released)])
        # Judged text that goes on meanwhile is not over, whatever the window thought.
        over = window.last and self.stop == window.stop
        safe = self._safe(window.stop, over)
        if safe < window.stop - MOST_HELD:
            raise TooLong("a finding", MOST_HELD)
        self._label(safe, policy)
        self.released = max(self.released, safe)
        self.spans = [span for span in self.spans if span[1] > self._tail_start]

    def _safe(self, stop: int, over: bool) -> int:
        if over:
            return stop
        safe = stop - self.config.held_bytes
        run = stop
        while run > self._tail_start and stop - run < LONGEST_RUN and self._tail[run - 1 - self._tail_start] in _RUN:
            run -= 1
        safe = min(safe, run)
        for start, end, _ in self.spans:
            if start < safe < end or end >= stop > start:
                safe = min(safe, start)
        return max(safe, self.released)

    def _label(self, upto: int, policy: Policy) -> None:
        """Settle what stands in the place of the spans that leave now."""
        for start, end, kind in self.spans:
            if start >= upto or (start, end) in self._labels:
                continue
            value = bytes(self._tail[max(start - self._tail_start, 0) : end - self._tail_start])
            label = redact(value, [(0, len(value), kind)], keep_last4=policy.keep_last4, keep_shape=policy.keep_shape)
            self._labels[start, end] = f'"{label}"' if self.json and not self._within_string(start) else label

    def _within_string(self, at: int) -> bool:
        for byte in self._tail[self._read - self._tail_start : at - self._tail_start]:
            if self._escaped:
                self._escaped = False
            elif self._quoted and byte == 0x5C:
                self._escaped = True
            elif byte == 0x22:
                self._quoted = not self._quoted
        self._read = max(self._read, at)
        return self._quoted

    def part(self, start: int, end: int) -> str | None:
        """What leaves of bytes ``start`` to ``end``, which came together and are ``released``; None: what came."""
        first = bisect.bisect_right(self.spans, start, key=lambda span: span[1])
        met = [span for span in self.spans[first:] if span[0] < end]
        if not met:
            return None
        out: list[bytes | bytearray] = []
        at = start
        for low, high, _ in met:
            out.append(self._tail[at - self._tail_start : max(low, at) - self._tail_start])
            if low >= start:
                out.append(self._labels[low, high].encode())
            at = min(high, end)
        out.append(self._tail[at - self._tail_start : end - self._tail_start])
        return b"".join(out).decode("utf-8", "replace")

    def forget(self, upto: int) -> None:
        """Bytes before ``upto`` have left; what is not needed to look back is let go of."""
        keep = self._edge(min(upto, self._judged - self.config.look_back_bytes, self.released))
        if self.json:
            self._within_string(max(keep, self._read))
        if keep > self._tail_start:
            del self._tail[: keep - self._tail_start]
            self._tail_start = keep
            self.spans = [span for span in self.spans if span[1] > keep]
            self._labels = {place: label for place, label in self._labels.items() if place[1] > keep}


def cleaned(text: str, verdict: Mapping[str, Any], policy: Policy, *, json: bool = False) -> str | None:
    """What leaves of the whole of ``text`` after its ``verdict``; None: what came. It must pass."""
    track = Track(verdict["channel"], json=json, whole=True)
    track.feed(text)
    track.close()
    window = track.window()
    assert window is not None
    track.judged(window, verdict, policy)
    return track.part(0, track.stop)


def _apart(found: Spans) -> Spans:
    """Spans in order, those that overlap as one under the kind of the longest."""
    out: Spans = []
    longest = 0
    for start, end, kind in sorted(set(found)):
        if out and start < out[-1][1]:
            before = out[-1]
            out[-1] = (before[0], max(before[1], end), kind if end - start > longest else before[2])
            longest = max(longest, end - start)
        else:
            out.append((start, end, kind))
            longest = end - start
    return out
