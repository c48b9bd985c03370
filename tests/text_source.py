"""Texts as the decoders of `aimds.detect.normalize` are given them."""

from __future__ import annotations

import numpy as np

from aimds.detect.normalize.candidates import candidates
from aimds.detect.normalize.proposals import Text


def source(text: str) -> Text:
    """``text`` with each byte in its own place."""
    values = np.frombuffer(text.encode(), np.uint8)
    places = np.arange(len(values), dtype=np.int32)
    return Text(values, places, places + 1)


def is_candidate(text: str, kind: int) -> bool:
    """Whether ``text`` is worth a try by the decoders of ``kind``."""
    row = source(text).values
    return bool(candidates(row, np.array([0, len(row)], np.int64))[0] & kind)
