"""The work folder of a training: parts hold for what they were made from only, and nothing else is ever removed."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aimds.detect.texts import Texts
from aimds.errors import ArtefactError
from aimds.jobs.corpus import Corpus
from aimds.jobs.train import TrainConfig
from aimds.jobs.train.work import KEY, PARTS, Folder, remove

CONFIG = TrainConfig(layers=0)


def names(*values: str) -> np.ndarray:
    return np.array(values, object)


CORPUS = Corpus(
    "own",
    Texts.from_arrow(pa.array([b"one", b"two"], pa.large_binary())),
    np.array([1, 0], np.int8),
    names("jailbreak", "benign"),
    names("a", "b"),
    names("jailbreak", "none"),
    np.zeros(2, np.int8),
    {},
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    made = Folder(tmp_path, CORPUS, CONFIG)
    made.save("linear", {"weights": np.ones(3, np.float32)})
    (made.path / "deep.partial.npz").write_bytes(b"a checkpoint")
    (made.path / "mine.txt").write_text("not a part")
    (tmp_path / "thesis.npz").write_bytes(b"not ours")
    return tmp_path


def test_parts_are_there_for_the_same_corpus_and_config(kept: Path) -> None:
    found = Folder(kept, CORPUS, CONFIG).load("linear")
    assert found is not None
    assert found["weights"].tolist() == [1.0, 1.0, 1.0]


def others(folder: Path) -> list[tuple[Corpus, TrainConfig, list[Path]]]:
    (folder / "weights").write_bytes(b"w")
    return [
        (CORPUS, dataclasses.replace(CONFIG, cost=3.0), []),
        (dataclasses.replace(CORPUS, threat=names("prompt_leak", "none")), CONFIG, []),
        (dataclasses.replace(CORPUS, category=names("jailbreak", "benign_hard")), CONFIG, []),
        (dataclasses.replace(CORPUS, source=names("a", "c")), CONFIG, []),
        (CORPUS, CONFIG, [folder / "weights"]),
    ]


@pytest.mark.parametrize("which", range(5))
def test_parts_of_anything_else_are_dropped_and_files_of_others_stay(kept: Path, which: int) -> None:
    corpus, config, pretrained = others(kept)[which]
    assert Folder(kept, corpus, config, pretrained).load("linear") is None
    assert sorted(file.name for file in (kept / PARTS).iterdir()) == [KEY, "mine.txt"]
    assert (kept / "thesis.npz").exists()


def test_other_pretrained_weights_of_the_same_name_start_anew(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"first")
    Folder(tmp_path, CORPUS, CONFIG, [weights]).save("deep", {"x": np.ones(1, np.float32)})
    assert Folder(tmp_path, CORPUS, CONFIG, [weights]).load("deep") is not None
    weights.write_bytes(b"other")
    assert Folder(tmp_path, CORPUS, CONFIG, [weights]).load("deep") is None
    with pytest.raises(ArtefactError, match="absent: cannot be read"):
        Folder(tmp_path, CORPUS, CONFIG, [tmp_path / "absent"])


@pytest.mark.parametrize("torn", [b"", b'{"engine": "0.', b"\xff\xfe", b"[" * 100_000, None])
def test_parts_beside_a_torn_key_or_none_are_dropped(kept: Path, torn: bytes | None) -> None:
    key = kept / PARTS / KEY
    if torn is None:
        key.unlink()
    else:
        key.write_bytes(torn)
    assert Folder(kept, CORPUS, CONFIG).load("linear") is None
    Folder(kept, CORPUS, CONFIG).save("linear", {"weights": np.ones(3, np.float32)})
    assert Folder(kept, CORPUS, CONFIG).load("linear") is not None


def test_removing_the_parts_leaves_what_others_keep(kept: Path) -> None:
    remove(kept)
    assert sorted(file.name for file in kept.rglob("*")) == [PARTS, "mine.txt", "thesis.npz"]
    (kept / PARTS / "mine.txt").unlink()
    remove(kept)
    assert [file.name for file in kept.iterdir()] == ["thesis.npz"]
