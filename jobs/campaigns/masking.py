"""Texts as they may be shown: personal data and secrets replaced by asterisks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aimds.detect.normalize import normalize
from aimds.detect.pii import Pii
from aimds.errors import ArtefactError, BackendError


def masked(texts: Sequence[bytes], pii: Pii) -> list[bytes | None]:
    """Each of ``texts`` with an asterisk for every byte of personal data; None for one that could not be searched."""
    if not texts:
        return []
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    values = np.frombuffer(b"".join(texts), np.uint8)
    try:
        spans = pii.scan((values, offsets), normalize(values, offsets))
    except (ArtefactError, BackendError):
        raise
    except Exception:  # a text that cannot be searched must not hide its neighbours
        middle = len(texts) // 2
        return [None] if not middle else [*masked(texts[:middle], pii), *masked(texts[middle:], pii)]
    out = [bytearray(text) for text in texts]
    for span in spans:
        out[span.row][span.start : span.end] = b"*" * (span.end - span.start)
    return [bytes(text) for text in out]
