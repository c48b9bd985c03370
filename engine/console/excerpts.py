"""A text under review as runs that a page can draw: where evidence lies, what was decoded, what does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from aimds.printable import tokens

MOST_BYTES = 128 << 10
"""Bytes of a text that are drawn; the words of each finding are given apart."""
MOST_WORDS = 200
MOST_VIEWS = 6


def runs(raw: bytes, evidence: Sequence[Mapping[str, Any]], spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``raw`` cut where a mark begins or ends: ``text``, the indices into ``evidence`` that lie over it, the ``kinds``
    of ``spans`` that do, and ``hidden`` where the text describes characters that would not show.

    Offsets are bytes of ``raw``, from a verdict that anybody may have written: those outside are cut, and a mark never
    splits a character.
    """
    shown = raw[:MOST_BYTES]
    found: list[tuple[int, int, int | None, str]] = []
    found += [(*_within(shown, one), i, "") for i, one in enumerate(evidence)]
    found += [(*_within(shown, one), None, str(one.get("kind"))) for one in spans]
    marks = [mark for mark in found if mark[0] < mark[1]]
    edges = sorted({0, len(shown), *(edge for mark in marks for edge in mark[:2])})
    out = []
    for low, high in pairwise(edges):
        over = [mark for mark in marks if mark[0] < high and mark[1] > low]
        which = [mark[2] for mark in over if mark[2] is not None]
        kinds = sorted({mark[3] for mark in over if mark[2] is None})
        for text, hidden in tokens(shown[low:high].decode("utf-8", "replace")):
            out.append({"text": text, "hidden": hidden, "evidence": which, "kinds": kinds})
    return out


def words(raw: bytes, start: Any, end: Any) -> str:
    """What stands in ``raw`` at a finding, cut short."""
    low, high = _within(raw, {"start": start, "end": end})
    text = raw[low : min(high, low + 4 * MOST_WORDS)].decode("utf-8", "replace")
    plain = "".join(f"⟨{run}⟩" if hidden else run for run, hidden in tokens(text[: MOST_WORDS + 1]))
    return plain if len(plain) <= MOST_WORDS else plain[:MOST_WORDS] + "…"


def views(raw: bytes) -> list[dict[str, Any]]:
    """What ``raw`` holds in encoded form, as the detectors decoded it: ``kind``, ``depth``, ``start`` and ``end``
    (bytes of ``raw``), and the decoded ``runs``."""
    from aimds.detect.normalize import normalize

    if not raw:
        return []
    found = normalize(np.frombuffer(raw, np.uint8), np.array([0, len(raw)], np.int64)).decoded
    return [
        {
            "kind": one.kind.replace("_", " "),
            "depth": one.depth,
            "start": int(one.starts.min()),
            "end": int(one.ends.max()),
            "runs": runs(one.text, (), ()),
        }
        for one in found[:MOST_VIEWS]
        if len(one.text)
    ]


def _within(raw: bytes, mark: Mapping[str, Any]) -> tuple[int, int]:
    start, end = mark.get("start"), mark.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return 0, 0
    low, high = max(0, min(start, len(raw))), max(0, min(end, len(raw)))
    return _border(raw, low, -1), _border(raw, high, 1)


def _border(raw: bytes, at: int, step: int) -> int:
    """``at``, moved by ``step`` while it lies within a character of UTF-8, which has at most four bytes."""
    for _ in range(3):
        if not 0 < at < len(raw) or raw[at] & 0xC0 != 0x80:
            break
        at += step
    return at
