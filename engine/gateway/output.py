"""A model's response, judged while it streams: chunks in, windows to screen out, and a verdict that only gets stricter.

A window is what is new, with up to ``look_back_bytes`` of what came before it: an attack or a secret that is split over
chunks lies whole in some window, unless it is longer than the look-back. Offsets count bytes of the whole response.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aimds.errors import ConfigError
from aimds.gateway.problem import Problem, too_large
from aimds.verdicts import SESSIONS

STRICTNESS = ("allow", "flag", "redact", "sandwich", "escalate", "block")
KEPT_SPANS = 1000


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """``step_bytes``: new text to look at · ``max_new_bytes``: most new text in a window · ``held_bytes``: how much of
    what was judged is not released yet, since it may be the beginning of something."""

    look_back_bytes: int = 4096
    step_bytes: int = 256
    max_new_bytes: int = 16 << 10
    held_bytes: int = 256
    max_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        least = {"look_back_bytes": 16, "step_bytes": 1, "max_new_bytes": 16, "held_bytes": 0, "max_bytes": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(name, getattr(self, name), f"at least {low}")


@dataclass(frozen=True, slots=True)
class Window:
    """``text`` is bytes ``start`` to ``stop`` of the response; ``last`` where the response ends with it."""

    start: int
    stop: int
    text: str
    last: bool


class Output:
    """State of one response. `feed` and `end` take it in, `window` gives what to screen next, `judged` its verdict.

    Args:
        forwards: whether a text with an action is passed on.
    """

    def __init__(self, config: OutputConfig, forwards: Callable[[str], bool]) -> None:
        self.config, self._forwards = config, forwards
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._tail = b""
        self._tail_start = 0
        self._stop = 0
        self._judged = 0
        self._released = 0
        self._ended = self._waiting = False
        self._worst: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}
        self._spans: set[tuple[int, int, str]] = set()
        self._seq = 0
        self._final = self._stopped = False

    @property
    def unjudged_bytes(self) -> int:
        """Bytes that no verdict covers yet."""
        return self._stop - self._judged

    @property
    def finished(self) -> bool:
        """The last verdict was given."""
        return self._final

    def feed(self, content: bytes) -> None:
        """More of the response.

        Raises:
            Problem: it is not UTF-8, or longer than ``max_bytes``.
        """
        try:
            text = self._decoder.decode(content)
        except UnicodeDecodeError:
            raise Problem("malformed", f"the response is not UTF-8 behind byte {self._stop}") from None
        raw = text.encode()
        self._stop += len(raw)
        if self._stop > self.config.max_bytes:
            raise too_large("the response is longer", self.config.max_bytes, "output.max_bytes")
        self._tail += raw

    def end(self) -> None:
        """The response is complete.

        Raises:
            Problem: it ends within a character.
        """
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise Problem("malformed", "the response ends within a character") from None
        self._ended = True

    def window(self) -> Window | None:
        """What to screen next; None while one is being screened, or too little is new."""
        new = self._stop - self._judged
        enough = new >= self.config.step_bytes or (self._ended and (new > 0 or self._seq == 0))
        if self._waiting or not enough:
            return None
        self._waiting = True
        start = self._edge(max(self._judged - self.config.look_back_bytes, self._tail_start), forward=True)
        stop = self._edge(min(self._stop, self._judged + self.config.max_new_bytes), forward=False)
        text = self._tail[start - self._tail_start : stop - self._tail_start].decode()
        return Window(start, stop, text, self._ended and stop == self._stop)

    def _edge(self, at: int, *, forward: bool) -> int:
        """The next beginning of a character at or behind ``at``, or the last one at or before it."""
        while 0 <= at - self._tail_start < len(self._tail) and self._tail[at - self._tail_start] & 0xC0 == 0x80:
            at += 1 if forward else -1
        return at

    def judged(self, window: Window, verdict: dict[str, Any]) -> dict[str, Any]:
        """The verdict on the response so far, after ``verdict`` on ``window``.

        ``judged`` and ``released`` are bytes from the beginning: what has a verdict, and what may be passed on. Once
        the action is one that is not forwarded, nothing more is released.
        """
        self._waiting = False
        self._judged = window.stop
        keep = max(self._judged - self.config.look_back_bytes, self._tail_start)
        self._tail, self._tail_start = self._tail[keep - self._tail_start :], keep
        in_text = (item for item in verdict["evidence"] if item["detector"] != SESSIONS)
        for item in (*in_text, *verdict["spans"]):
            item["start"], item["end"] = item["start"] + window.start, item["end"] + window.start
        spans = [item for item in verdict["spans"] if (item["start"], item["end"], item["kind"]) not in self._spans]
        if len(self._spans) < KEPT_SPANS:
            self._spans |= {(item["start"], item["end"], item["kind"]) for item in spans}
        if self._worst is None or _rank(verdict) > _rank(self._worst):
            self._worst = verdict
        worst = self._worst
        self._stopped = self._stopped or not self._forwards(worst["action"])
        if not self._stopped:
            safe = window.stop if window.last else window.stop - self.config.held_bytes
            self._released = max(self._released, safe)
        self._final = window.last
        return self._told(verdict, worst, spans)

    def closing(self) -> dict[str, Any] | None:
        """The last verdict where the response ended with nothing new to screen; None otherwise, and the second time."""
        if not self._ended or self._waiting or self._final or self._judged != self._stop or self._worst is None:
            return None
        self._final = True
        if not self._stopped:
            self._released = self._stop
        return self._told(self._last, self._worst, [])

    def _told(self, verdict: dict[str, Any], worst: dict[str, Any], spans: list[dict[str, Any]]) -> dict[str, Any]:
        self._last = verdict
        self._seq += 1
        return {
            "seq": self._seq - 1,
            "judged": self._judged,
            "released": self._released,
            "final": self._final,
            "action": worst["action"],
            "threat_type": worst["threat_type"],
            "score": worst["score"],
            "evidence": worst["evidence"],
            "spans": spans,
            "status": verdict["status"],
            "error": verdict["error"],
            "model_version": verdict["model_version"],
            "signature_version": verdict["signature_version"],
            "policy_version": verdict["policy_version"],
        }


def _rank(verdict: dict[str, Any]) -> tuple[int, float]:
    return STRICTNESS.index(verdict["action"]), verdict["score"] or 0.0
