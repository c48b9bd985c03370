"""The tables of the shipped bank, kept as they were made of its patterns, so that a start reads them instead."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.patterns.similarity import Index
from aimds.detect.patterns.tables import Block, Tables

INDEX: Final = "index.npz"
_ALIKE: Final = (
    "total", "keys", "ids", "row_of", "post_offsets", "post_place", "post_gain", "place_from", "place_pattern",
    "place_word", "heavy", "heavy_need",
)  # fmt: skip


def pack(index: Index, version: str) -> bytes:
    """The bytes of the artefact: the tables of the bank of that version."""
    tables = index.tables
    arrays: dict[str, npt.NDArray[np.generic]] = {name: getattr(index, name) for name in _ALIKE}
    arrays |= dict(zip(("near_offsets", "near_word", "near_cost"), index.near, strict=True))
    arrays |= {name: getattr(tables, name) for name in ("cost", "local", "shapes", "lengths")}
    return data.pack(arrays | {"version": np.frombuffer(version.encode(), np.uint8)})


def read(version: str) -> Index | None:
    """The shipped tables; None where they were made of another bank than that of ``version``.

    Raises:
        ArtefactError: missing or damaged.
    """
    arrays: dict[str, Any] = data.read_arrays(INDEX)
    if arrays.pop("version").tobytes().decode("ascii", "replace") != version:
        return None
    cost, local, shapes, lengths = (arrays.pop(name) for name in ("cost", "local", "shapes", "lengths"))
    near = tuple(arrays.pop(name) for name in ("near_offsets", "near_word", "near_cost"))
    words = tuple(np.split(arrays["place_word"], arrays["place_from"][1:-1]))
    starts, members, longest = shapes.T.tolist()
    firsts = np.cumsum([0, *members]).tolist()
    blocks = tuple(
        Block(local[k], cost[start:stop].reshape(-1, m, longest[k]), lengths[firsts[k] : firsts[k + 1]])
        for k, (start, stop, m) in enumerate(zip(starts, [*starts[1:], len(cost)], members, strict=True))
    )
    return Index(words=words, near=near, tables=Tables(blocks, cost, local, shapes, lengths), **arrays)
