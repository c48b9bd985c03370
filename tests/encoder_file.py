"""A tiny encoder with random weights as the bytes of ``deep.npz``, for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import deep
from aimds.jobs.deep import graph

PLACES = 200
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["<s>", "<unk>", "</s>", "\u2581", *_LETTERS, *(f"\u2581{c}" for c in _LETTERS), "\u2581ignore", "\u2581all", "\u2581rules", "\u2581hello", "."]  # fmt: skip
SCORES = (-3.0 - np.arange(len(PIECES)) / 1000).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """Sizes of an encoder, the last layers that its head sees, and the spread of its weights."""

    width: int = 24
    heads: int = 2
    hidden: int = 40
    pooled: int = 2
    spread: float = 0.3


TINY = Layout()
TRAINED = Layout(384, 12, 1536, 5, 0.05)
"""The sizes of an encoder that `aimds train` makes."""


def weights(layers: int = 2, seed: int = 0, layout: Layout = TINY) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights by name, matrices as (in, out)."""
    rng, width, hidden = np.random.default_rng(seed), layout.width, layout.hidden

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(0, layout.spread, shape).astype(np.float32)

    out = {"word": draw(len(PIECES), width), "position": draw(PLACES, width), "channel": draw(2, width)}

    def norm(name: str) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = 1 + draw(width), draw(width)

    def dense(name: str, of: int, to: int) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = draw(of, to), draw(to)

    norm("norm")
    for layer in range(layers):
        at = f"layer.{layer}"
        dense(f"{at}.qkv", width, 3 * width)
        dense(f"{at}.out", width, width)
        norm(f"{at}.norm1")
        dense(f"{at}.up", width, hidden)
        dense(f"{at}.down", hidden, width)
        norm(f"{at}.norm2")
    dense("head", min(layout.pooled, layers) * width, len(deep.CLASSES))
    return out


def arrays(layers: int = 2, seed: int = 0, layout: Layout = TINY) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the artefact."""
    chosen = weights(layers, seed, layout)
    shapes = {name: array.shape for name, array in chosen.items()}
    card = {"format": deep.FORMAT, "classes": list(deep.CLASSES), "layers": layers, "heads": layout.heads}
    skeleton = graph.build(shapes, layers=layers, heads=layout.heads)
    return {
        **deep.quantised(chosen),
        "graph": np.frombuffer(skeleton, np.uint8),
        "vocabulary": np.frombuffer("\n".join(PIECES).encode(), np.uint8),
        "piece.scores": SCORES,
        "card": np.frombuffer(json.dumps(card).encode(), np.uint8),
    }


def content(layers: int = 2, seed: int = 0, layout: Layout = TINY) -> bytes:
    """The bytes of the artefact."""
    return data.pack(arrays(layers, seed, layout))
