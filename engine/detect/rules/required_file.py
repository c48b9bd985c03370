"""What the shipped signatures require, kept as it was read from their expressions, so that a start does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.rules.grams import program
from aimds.detect.rules.required import required
from aimds.detect.rules.signatures import Signature

REQUIRED: Final = "required.npz"


class Required(NamedTuple):
    """A `program` of what the expressions of S signatures require, ``flat`` int32 (N,), and each one's place in it,
    ``spans`` int32 (S, 2)."""

    spans: npt.NDArray[np.int32]
    flat: npt.NDArray[np.int32]

    @classmethod
    def of(cls, signatures: Sequence[Signature]) -> Required:
        """What is required of folded text; nothing of other text."""
        spans = np.zeros((len(signatures), 2), np.int32)
        flat: list[int] = []
        for number, signature in enumerate(signatures):
            if signature.regex and signature.anchors and not signature.raw:
                start = len(flat)
                flat += program(required(signature.regex))
                spans[number] = start, len(flat)
        return cls(spans, np.array(flat, np.int32))


def pack(made: Required, version: str) -> bytes:
    """The bytes of the artefact: what is required by the signatures of that version."""
    return data.pack(made._asdict() | {"version": np.frombuffer(version.encode(), np.uint8)})


def read(version: str) -> Required | None:
    """What is shipped; None where it was made of other signatures than those of ``version``.

    Raises:
        ArtefactError: missing or damaged.
    """
    arrays = data.read_arrays(REQUIRED)
    if arrays["version"].tobytes().decode("ascii", "replace") != version:
        return None
    return Required(arrays["spans"].astype(np.int32), arrays["flat"].astype(np.int32))
