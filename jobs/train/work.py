"""The work folder of a training: parts that are done, kept for the call that goes on after an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import aimds
from aimds.errors import ArtefactError
from aimds.jobs.corpus import Corpus
from aimds.jobs.train.config import TrainConfig

PARTS = "aimds-train-parts"
"""The folder inside the work folder that holds the parts; nothing outside it is ever removed."""
KEY = "key.json"
_OURS = (KEY, "*.npz", "*.partial", "*.writing")


class Folder:
    """Named arrays that hold for one corpus, one config, one pretrained encoder and one version of the engine.

    Args:
        pretrained: files that the parts come from as well.

    Raises:
        ArtefactError: a file of ``pretrained`` cannot be read.
    """

    def __init__(self, folder: Path, corpus: Corpus, config: TrainConfig, pretrained: Sequence[Path] = ()) -> None:
        self.path = folder / PARTS
        digest = hashlib.sha256(corpus.texts.values.tobytes() + corpus.texts.offsets.tobytes())
        digest.update(corpus.label.tobytes() + corpus.channel.tobytes())
        for names in (corpus.source, corpus.threat, corpus.category):
            digest.update(repr(names.tolist()).encode())
        key = {
            "engine": aimds.__version__,
            "corpus": digest.hexdigest(),
            "config": dataclasses.asdict(config),
            "pretrained": {file.name: _sha256(file) for file in pretrained},
        }
        if self._key() != key:
            _clear(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f"{KEY}.partial"
        partial.write_text(json.dumps(key))
        partial.replace(self.path / KEY)

    def file(self, name: str) -> Path:
        """The file of the part ``name``."""
        return self.path / f"{name}.npz"

    def load(self, name: str) -> dict[str, npt.NDArray[np.float32]] | None:
        """The arrays of the part ``name``, None where it is not done."""
        file = self.file(name)
        if not file.exists():
            return None
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep ``arrays`` as the part ``name``; it appears whole or not."""
        partial = self.path / f"{name}.partial"
        with partial.open("wb") as out:
            np.savez(out, **arrays)
        partial.replace(self.file(name))

    def _key(self) -> object:
        # A key that is torn or cannot be read says nothing of the parts beside it.
        try:
            return json.loads((self.path / KEY).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None


def remove(folder: Path) -> None:
    """Take the parts out of the work folder ``folder``; whatever else is in it stays, and so does ``folder``."""
    _clear(folder / PARTS)
    with contextlib.suppress(OSError):
        (folder / PARTS).rmdir()


def _clear(path: Path) -> None:
    for pattern in _OURS:
        for file in path.glob(pattern):
            if not file.is_dir():
                file.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; name its folder, or that of a model with an encoder"
        raise ArtefactError(file, problem) from error
