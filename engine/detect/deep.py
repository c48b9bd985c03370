"""The deep stage: a small pretrained encoder, fine-tuned, that judges windows of text one at a time.

A window goes through the encoder alone and unpadded, on one thread, so its score depends on nothing beside it; several
windows run side by side on several threads. Word pieces: Wu et al. 2016 (arXiv 1609.08144).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.errors import ArtefactError, BackendError, KernelError
from aimds.kernels.placement import Place

F32 = npt.NDArray[np.float32]

DEEP = "deep.npz"
FORMAT = 1
CLASSES = ("benign", "attack", "harmful")
MAX_TOKENS = 160
"""Word pieces the encoder sees at once, its two marks included; a window with more is judged in parts."""
OVERLAP_TOKENS = 32
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CLS, SEP, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


class Tokenizer:
    """Text → word pieces. ``vocabulary`` is one piece a line, its place being its id."""

    def __init__(self, vocabulary: bytes) -> None:
        from tokenizers import Tokenizer as Pieces
        from tokenizers import models, normalizers, pre_tokenizers

        self.vocabulary = vocabulary
        ids = {piece: place for place, piece in enumerate(vocabulary.decode().split("\n"))}
        self._first, self._last = ids[CLS], ids[SEP]
        self._pieces = Pieces(models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
        self._pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its parts, each at most MAX_TOKENS ids with the marks at both ends; an empty text has one."""
        room = MAX_TOKENS - 2
        out = []
        for encoded in self._pieces.encode_batch(list(texts), add_special_tokens=False):
            ids = encoded.ids
            starts = range(0, max(len(ids) - OVERLAP_TOKENS, 1), room - OVERLAP_TOKENS)
            out.append([[self._first, *ids[start : start + room], self._last] for start in starts])
        return out


@dataclass(frozen=True)
class Deep:
    """The encoder with its weights as kept (``arrays``), its graph and its tokenizer; `load` reads the artefact.
    ``gpu``: number of the GPU it runs on, None for the CPU."""

    arrays: dict[str, npt.NDArray[np.generic]]
    graph: bytes
    tokenizer: Tokenizer
    card: dict[str, Any]
    version: str
    gpu: int | None = None

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
        missing = [key for key in ("card", "graph", "vocabulary") if key not in arrays]
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
        try:
            lacking = {CLS, SEP, UNKNOWN} - set(vocabulary.decode().split("\n"))
        except UnicodeDecodeError as error:
            raise ArtefactError(name, f"has a vocabulary that is no UTF-8: {error}") from error
        if lacking:
            raise ArtefactError(name, f"has a vocabulary without {', '.join(sorted(lacking))}")
        for key, array in arrays.items():
            if not np.isfinite(array.astype(np.float32)).all():
                raise ArtefactError(name, f"its array {key!r} holds a value that is not finite")
        return cls(arrays, graph, Tokenizer(vocabulary), card, hashlib.sha256(content).hexdigest()[:12])

    def placed(self, place: Place) -> Deep:
        """This encoder on the GPU of ``place``; itself on the CPU, or where the installed onnxruntime has no CUDA."""
        if place.backend != "cuda":
            return self
        import onnxruntime

        return replace(self, gpu=place.number) if CUDA in onnxruntime.get_available_providers() else self

    @property
    def providers(self) -> list[str | tuple[str, dict[str, Any]]]:
        """What onnxruntime runs the encoder with, first choice first."""
        if self.gpu is None:
            return [CPU]
        # Scores must not depend on the card: no product in fewer bits than the weights have.
        return [(CUDA, {"device_id": self.gpu, "use_tf32": 0}), CPU]

    @cached_property
    def weights(self) -> dict[str, F32]:
        """The weights as they are computed with, float32."""
        return dequantised(self.arrays)

    @cached_property
    def _session(self) -> tuple[Any, list[Any]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The session refers to these values; they have to live as long as it does.
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        try:
            session = onnxruntime.InferenceSession(self.graph, options, providers=self.providers)
        except Exception as error:  # onnxruntime raises types of its own that share no root
            raise ArtefactError(DEEP, f"its graph does not fit its weights: {error}") from error
        if self.gpu is not None and CUDA not in session.get_providers():
            raise BackendError("cuda", "onnxruntime could not load its CUDA provider; see its message above")
        return session, values

    def score(
        self,
        values: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        untrusted: npt.NDArray[np.bool_],
        *,
        threads: int = 1,
    ) -> F32:
        """Margins of W windows, float32 (W, 2): attack and harmful against the other two classes, as log odds.

        Args:
            values, offsets: folded text of the windows, uint8 (N,) and int64 (W+1,).
            untrusted: bool (W,), whether the window is tool or document text.
        """
        bounds = offsets.tolist()
        texts = [values[low:high].tobytes().decode("utf-8", "replace") for low, high in itertools.pairwise(bounds)]
        parts = self.tokenizer.encode(texts)
        session, _ = self._session
        owner = [window for window, split in enumerate(parts) for _ in split]
        flat = [part for split in parts for part in split]

        def run(k: int) -> npt.NDArray[np.float32]:
            ids = np.array([flat[k]], np.int64)
            channel = np.array([untrusted[owner[k]]], np.int64)
            logits: npt.NDArray[np.float32] = session.run(None, {"ids": ids, "untrusted": channel})[0][0]
            return logits

        if threads > 1 and len(flat) > 1:
            with ThreadPoolExecutor(max_workers=threads) as pool:
                logits = list(pool.map(run, range(len(flat))))
        else:
            logits = [run(k) for k in range(len(flat))]
        out = np.full((len(texts), 2), -np.inf, np.float32)
        if not np.isfinite(logits).all():
            raise KernelError("deep", "logits", "the encoder gave a score that is not finite")
        if flat:
            np.maximum.at(out, np.array(owner), margins(np.stack(logits)))
        return out


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
    """Float32 weights of arrays that `quantised` gave."""
    out = {}
    for name, array in arrays.items():
        if name.endswith(".scale"):
            continue
        scale = arrays.get(f"{name}.scale")
        full = array.astype(np.float32) if scale is None else array.astype(np.float32) * scale.astype(np.float32)
        out[name] = np.ascontiguousarray(full)
    return out
