"""The work folder of a training: parts that are done, kept for the call that goes on after an interruption."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import aimds
from aimds.jobs.corpus import Corpus
from aimds.jobs.train.config import TrainConfig

KEY = "key.json"


class Folder:
    """Named arrays that hold for one corpus, one config and one version of the engine."""

    def __init__(self, path: Path, corpus: Corpus, config: TrainConfig) -> None:
        self.path = path
        digest = hashlib.sha256(corpus.texts.values.tobytes() + corpus.texts.offsets.tobytes())
        digest.update(corpus.label.tobytes() + corpus.channel.tobytes() + repr(corpus.source.tolist()).encode())
        key = {"engine": aimds.__version__, "corpus": digest.hexdigest(), "config": dataclasses.asdict(config)}
        known = path / KEY
        if known.exists() and json.loads(known.read_bytes()) != key:
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(key))

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
