"""A tiny encoder with random weights as the bytes of ``deep.npz``, for tests."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import deep
from aimds.jobs.deep import graph

WIDTH, HEADS, HIDDEN, PLACES = 24, 2, 40, 200
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "ignore", "all", "rules", "hello", "."]  # fmt: skip


def weights(layers: int = 2, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights by name, matrices as (in, out)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    out = {"word": draw(len(PIECES), WIDTH), "position": draw(PLACES, WIDTH), "channel": draw(2, WIDTH)}

    def norm(name: str) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = 1 + draw(WIDTH), draw(WIDTH)

    def dense(name: str, width: int, to: int) -> None:
        out[f"{name}.weight"], out[f"{name}.bias"] = draw(width, to), draw(to)

    norm("norm")
    for layer in range(layers):
        at = f"layer.{layer}"
        dense(f"{at}.qkv", WIDTH, 3 * WIDTH)
        dense(f"{at}.out", WIDTH, WIDTH)
        norm(f"{at}.norm1")
        dense(f"{at}.up", WIDTH, HIDDEN)
        dense(f"{at}.down", HIDDEN, WIDTH)
        norm(f"{at}.norm2")
    dense("head", WIDTH, len(deep.CLASSES))
    return out


def arrays(layers: int = 2, seed: int = 0) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the artefact."""
    chosen = weights(layers, seed)
    shapes = {name: array.shape for name, array in chosen.items()}
    card = {"format": deep.FORMAT, "classes": list(deep.CLASSES), "layers": layers}
    skeleton = graph.build(shapes, layers=layers, heads=HEADS, classes=len(deep.CLASSES))
    return {
        **deep.quantised(chosen),
        "graph": np.frombuffer(skeleton, np.uint8),
        "vocabulary": np.frombuffer("\n".join(PIECES).encode(), np.uint8),
        "card": np.frombuffer(json.dumps(card).encode(), np.uint8),
    }


def content(layers: int = 2, seed: int = 0) -> bytes:
    """The bytes of the artefact."""
    return data.pack(arrays(layers, seed))
