"""The deep stage: a small pretrained encoder, fine-tuned, that judges windows of text one at a time.

Its head is linear over the mean states of a window after each of the last layers, end to end (docs/design/0014). A
window goes through the encoder alone and unpadded, on one thread, so its score depends on nothing beside it; several
windows run side by side on several threads. Word pieces: a unigram language model, Kudo 2018 (arXiv 1804.10959).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect import encoder
from aimds.errors import ArtefactError, KernelError
from aimds.kernels import ragged
from aimds.kernels.placement import HOST, Place, joined

F32 = npt.NDArray[np.float32]

DEEP = "deep.npz"
FORMAT = 4
CLASSES = ("benign", "attack", "harmful")
MAX_TOKENS = 160
"""Word pieces the encoder sees at once, its two marks included; a window with more is judged in parts."""
OVERLAP_TOKENS = 32
CLS, SEP, UNKNOWN = "<s>", "</s>", "<unk>"
_TABLE = ("word", "word.scale")
_HEAD = ("head.weight", "head.bias")


class Tokenizer:
    """Text → word pieces.

    Args:
        vocabulary: one piece a line, its place being its id; a piece that begins a word begins with U+2581.
        scores: float32 (V,), log probability of each piece.
    """

    def __init__(self, vocabulary: bytes, scores: F32) -> None:
        from tokenizers import Tokenizer as Pieces
        from tokenizers import models, pre_tokenizers

        self.vocabulary, self.scores = vocabulary, scores
        pieces = vocabulary.decode().split("\n")
        ids = {piece: place for place, piece in enumerate(pieces)}
        self._first, self._last = ids[CLS], ids[SEP]
        weighed = list(zip(pieces, scores.tolist(), strict=True))
        self._pieces = Pieces(models.Unigram(weighed, unk_id=ids[UNKNOWN]))
        words = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        self._pieces.pre_tokenizer = pre_tokenizers.Sequence(words)

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces of each text."""
        return [encoded.ids for encoded in self._pieces.encode_batch(list(texts), add_special_tokens=False)]

    def encode(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its parts, each at most MAX_TOKENS ids with the marks at both ends; an empty text has one."""
        room = MAX_TOKENS - 2
        out = []
        for ids in self.pieces(texts):
            starts = range(0, max(len(ids) - OVERLAP_TOKENS, 1), room - OVERLAP_TOKENS)
            out.append([[self._first, *ids[start : start + room], self._last] for start in starts])
        return out


class Column(NamedTuple):
    """A linear score over what `Deep.pooled` gives: ``weight`` float32 (layers * width,) and ``bias``."""

    weight: F32
    bias: float


@dataclass(frozen=True)
class Deep:
    """The encoder with its weights as kept (``arrays``), its graph and its tokenizer; `load` reads the artefact."""

    arrays: dict[str, npt.NDArray[np.generic]]
    graph: bytes
    tokenizer: Tokenizer
    card: dict[str, Any]
    version: str

    @classmethod
    def load(cls, path: Path | None = None) -> Deep:
        """The shipped encoder, or the one in ``path``.

        Raises:
            ArtefactError: missing, damaged, of another format, or not the one the manifest names.
        """
        if path is None:
            return cls.unpack(DEEP, data.read_bytes(DEEP))
        if not path.is_file():
            raise ArtefactError(path, "no such encoder file")
        return cls.unpack(str(path), data.read_file(path))

    @classmethod
    def unpack(cls, name: str, content: bytes) -> Deep:
        """The encoder in the bytes of an ``.npz`` file."""
        arrays = data.unpack(name, content)
        missing = [key for key in ("card", "graph", "vocabulary", "piece.scores", *_TABLE, *_HEAD) if key not in arrays]
        if missing:
            raise ArtefactError(name, f"has no {', '.join(missing)}; it is not an encoder file")
        try:
            card = json.loads(arrays.pop("card").tobytes())
        except ValueError as error:
            raise ArtefactError(name, f"has a card that is no JSON: {error}") from error
        if not isinstance(card, dict):
            raise ArtefactError(name, "has a card that is no JSON object")
        if card.get("format") != FORMAT or card.get("classes") != list(CLASSES):
            raise ArtefactError(name, f"is of format {card.get('format')!r}, this version reads format {FORMAT}")
        graph, vocabulary = arrays.pop("graph").tobytes(), arrays.pop("vocabulary").tobytes()
        scores = arrays.pop("piece.scores").astype(np.float32)
        try:
            pieces = vocabulary.decode().split("\n")
        except UnicodeDecodeError as error:
            raise ArtefactError(name, f"has a vocabulary that is no UTF-8: {error}") from error
        lacking = {CLS, SEP, UNKNOWN} - set(pieces)
        if lacking:
            raise ArtefactError(name, f"has a vocabulary without {', '.join(sorted(lacking))}")
        if scores.shape != (len(pieces),) or len(pieces) != len(arrays["word"]) or not np.isfinite(scores).all():
            raise ArtefactError(name, "has not one finite score and one row of its table for each word piece")
        weight, bias = (arrays[key] for key in _HEAD)
        if weight.shape != (len(weight), len(CLASSES)) or len(weight) % arrays["word"].shape[1] or bias.shape != (3,):
            raise ArtefactError(name, "has a head that does not fit the states of whole layers")
        for key, array in arrays.items():
            if array.dtype != np.int8 and not np.isfinite(array.astype(np.float32)).all():
                raise ArtefactError(name, f"its array {key!r} holds a value that is not finite")
        return cls(arrays, graph, Tokenizer(vocabulary, scores), card, hashlib.sha256(content).hexdigest()[:12])

    @cached_property
    def remembered(self) -> dict[str, Any]:
        """What was made of texts that were taught, for `aimds.detect.probe.remembered`."""
        return {}

    @cached_property
    def weights(self) -> dict[str, F32]:
        """All weights as they are computed with, float32; what only a GPU is given as a whole."""
        return dequantised(self.arrays)

    def ready(self) -> None:
        """Make the session of the CPU now: it takes a third of a second, which a text would wait."""
        _ = self._session

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The session copies these values and packs the matrices anew, so they may go as soon as it is made.
        weights = dequantised({name: array for name, array in self.arrays.items() if name not in (*_TABLE, *_HEAD)})
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            return onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own that share no root
            raise ArtefactError(DEEP, f"its graph does not fit its weights: {error}") from error

    def _words(self, part: list[int]) -> F32:
        # Rows float32 (1, T, width) of the word table, which stays int8: a window needs few of them.
        table, scale = (self.arrays[name] for name in _TABLE)
        return (table[part].astype(np.float32) * scale[part].astype(np.float32))[None]

    def score(
        self,
        values: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        untrusted: npt.NDArray[np.bool_],
        *,
        more: Column | None = None,
        threads: int = 1,
        place: Place = HOST,
    ) -> F32:
        """Margins of W windows, float32 (W, 2): attack and harmful against the other two classes, as log odds.

        Args:
            values, offsets: folded text of the windows, uint8 (N,) and int64 (W+1,).
            untrusted: bool (W,), whether the window is tool or document text.
            more: one more linear score over what `pooled` gives, which then is a third column.
            place: on a GPU the encoder runs by kernels of our own, its weights resident, elsewhere by onnxruntime.
        """
        texts = texts_of(values, offsets)
        parts = self.tokenizer.encode(texts)
        owner = [window for window, split in enumerate(parts) for _ in split]
        flat = [part for split in parts for part in split]
        if place.backend == "cuda":
            return _highest(self._on_gpu(flat, untrusted[owner], place, more), owner, len(texts))
        logits = self.logits(self.pooled(flat, untrusted[owner], threads=threads), more)
        return _highest(logits, owner, len(texts))

    def pooled(self, parts: Sequence[list[int]], untrusted: npt.NDArray[np.bool_], *, threads: int = 1) -> F32:
        """What the head sees of P ``parts`` that `Tokenizer.encode` gave, on the CPU: the mean of their states after
        each of the layers, end to end, float32 (P, layers * width)."""
        if not len(parts):
            # Many a run has no text for which a session has to be made.
            return np.empty((0, len(self.arrays["head.weight"])), np.float32)
        session = self._session

        def run(k: int) -> F32:
            given = {"words": self._words(parts[k]), "untrusted": np.array([untrusted[k]], np.int64)}
            states: F32 = session.run(None, given)[0][0]
            return states

        if threads > 1 and len(parts) > 1:
            with ThreadPoolExecutor(max_workers=threads) as pool:
                found = list(pool.map(run, range(len(parts))))
        else:
            found = [run(k) for k in range(len(parts))]
        return np.array(found, np.float32).reshape(len(parts), len(self.arrays["head.weight"]))

    def logits(self, pooled: F32, more: Column | None = None) -> F32:
        """Logits float32 (P, classes) of the states that `pooled` gave; ``more`` is one more column."""
        # One row after another: the sums of a product depend on how many rows it has.
        weight, bias = (array.astype(np.float64) for array in self._head(more))
        rows = [row.astype(np.float64) @ weight + bias for row in pooled]
        return np.array(rows, np.float32).reshape(len(pooled), len(bias))

    def _head(self, more: Column | None) -> tuple[F32, F32]:
        weight, bias = (self.arrays[key].astype(np.float32) for key in _HEAD)
        if more is None:
            return weight, bias
        return np.column_stack([weight, more.weight]), np.append(bias, np.float32(more.bias))

    def _on_gpu(
        self, parts: list[list[int]], untrusted: npt.NDArray[np.bool_], place: Place, more: Column | None
    ) -> F32:
        """Logits float32 (P, classes) of ``parts``, as many at once as the memory of ``place`` holds."""
        weight, bias = self._head(more)
        if not parts:
            return np.zeros((0, len(bias)), np.float32)
        layers, heads = (self._count(key) for key in ("layers", "heads"))
        names = encoder.names(layers)
        lacking = [name for name in names if name not in self.weights]
        if lacking:
            raise ArtefactError(DEEP, f"its card does not fit its weights: it has no {', '.join(lacking[:3])}")
        tokens, offsets = ragged.joined([np.array(part, np.int32) for part in parts])
        kinds = untrusted.astype(np.int32)

        def run(first: int, last: int) -> F32:
            there = dict(zip(names, place.resident(*(self.weights[name] for name in names)), strict=True))
            if more is not None:
                there |= zip(_HEAD, (place.put(np.ascontiguousarray(weight)), place.put(bias)), strict=True)
            batch = place.ragged(tokens, offsets, first, last)
            found = encoder.forward(there, *batch, place.put(kinds[first:last]), layers=layers, heads=heads)
            return place.fetch(found)[0]

        return joined(place.each(run, offsets, encoder.token_bytes(self.weights)))

    def _count(self, key: str) -> int:
        count = self.card.get(key)
        if not isinstance(count, int):
            raise ArtefactError(DEEP, f"its card does not say how many {key} it has, which a GPU has to be told")
        return count


def _highest(logits: F32, owner: list[int], windows: int) -> F32:
    """Margins float32 (W, 2) of windows, then further columns as they are; of several parts of a window the highest."""
    if not np.isfinite(logits).all():
        raise KernelError("deep", "logits", "the encoder gave a score that is not finite")
    classes = len(CLASSES)
    found = np.concatenate([margins(logits[:, :classes]), logits[:, classes:]], axis=1)
    out = np.full((windows, found.shape[1]), -np.inf, np.float32)
    if owner:
        np.maximum.at(out, np.array(owner), found)
    return out


def texts_of(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> list[str]:
    """The texts of ``values`` uint8 (N,) and ``offsets`` int64 (W+1,), what is no UTF-8 in them replaced."""
    bounds = itertools.pairwise(offsets.tolist())
    return [values[low:high].tobytes().decode("utf-8", "replace") for low, high in bounds]


def margins(logits: F32) -> F32:
    """Log odds of attack and of harmful against the other two classes, float32 (W, 2), of logits (W, 3)."""
    x = logits.astype(np.float64)
    benign, attack, harmful = x[:, 0], x[:, 1], x[:, 2]
    both = (attack - np.logaddexp(benign, harmful), harmful - np.logaddexp(benign, attack))
    return np.stack(both, axis=1).astype(np.float32)


def quantised(weights: dict[str, F32]) -> dict[str, npt.NDArray[np.generic]]:
    """Weights as they are kept: the word table and the matrices int8 with a scale for each row or column, else float32.

    `dequantised` is the reverse; all computing is in float32 on what it gives.
    """
    out: dict[str, npt.NDArray[np.generic]] = {}
    for name, array in weights.items():
        if array.ndim < 2 or name in ("position", "channel", "head.weight"):
            out[name] = array.astype(np.float16) if name == "position" else array.astype(np.float32)
            continue
        axis = 1 if name == "word" else 0
        scale = np.maximum(np.abs(array).max(axis=axis, keepdims=True) / 127.0, 1e-12).astype(np.float32)
        out[name] = np.clip(np.rint(array / scale), -127, 127).astype(np.int8)
        out[f"{name}.scale"] = scale
    return out


def dequantised(arrays: dict[str, npt.NDArray[np.generic]]) -> dict[str, F32]:
    """Float32 weights of arrays that `quantised` gave, in one block of memory, so that all of it goes back at once."""
    names = [name for name in arrays if not name.endswith(".scale")]
    ends = np.cumsum([0, *(arrays[name].size for name in names)])
    block, out = np.empty(ends[-1], np.float32), {}
    for name, (first, last) in zip(names, itertools.pairwise(ends.tolist()), strict=True):
        out[name] = block[first:last].reshape(arrays[name].shape)
        scale = arrays.get(f"{name}.scale", np.float32(1))
        np.multiply(arrays[name], scale, out=out[name], dtype=np.float32, casting="unsafe")
    return out
