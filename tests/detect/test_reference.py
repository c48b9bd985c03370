"""Ordinary text as hashed n-grams: what is packed comes back, what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import teaching_material as material
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import data, kernels
from aimds.detect.probe import States
from aimds.detect.reference import LEAST_IDF, WINDOWS, Reference, grams, weights
from aimds.errors import ArtefactError

FEATURES = material.classifier()


def test_a_packed_reference_comes_back_whole(tmp_path: Path) -> None:
    deep = material.encoder()
    made = material.reference(FEATURES, deep)
    states = States.of([""] * len(material.BENIGN), material.BENIGN, FEATURES, deep)
    assert made.states.version == deep.version
    assert np.array_equal(made.states.owner, states.owner)
    assert np.abs(made.states.values - states.values).max() < 0.01 * np.abs(states.values).max()
    direct = grams(material.BENIGN, FEATURES, most=WINDOWS)
    for ours, theirs in zip(made.grams, direct, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    file = tmp_path / "reference.npz"
    file.write_bytes(made.pack())
    read = Reference.load(file)
    assert (read.texts, read.beside, read.bits, read.version) == (len(material.BENIGN), 60, 16, made.version)
    assert read.pack() == made.pack()


def test_no_word_of_a_text_is_in_the_file() -> None:
    content = data.unpack("x", material.reference(FEATURES).pack())
    assert all(b"sister" not in array.tobytes() for array in content.values())


def test_grams_of_a_short_text_are_those_of_the_kernel() -> None:
    text = "the sealed appendix"
    folded = np.frombuffer(text.encode(), np.uint8)
    indptr, indices, counts = kernels.ngram_hash(folded, np.array([0, len(folded)], np.int64), bits=16)
    held = grams([text], FEATURES, most=1)
    assert held.row.tolist() == [0]
    assert np.array_equal(held.indptr, indptr)
    assert np.array_equal(held.indices, indices)
    assert np.array_equal(held.counts, counts)


def test_of_a_long_text_the_windows_with_the_highest_attack_score_are_kept() -> None:
    weights_ = np.zeros((1 << 16, 8), np.int8)
    told = grams(["lanterns"], FEATURES, most=1)
    weights_[told.indices, 0] = 1
    trained = material.classifier()
    object.__setattr__(trained, "weights", weights_)
    filler = "the weather is fine and the bread is warm. " * 40
    held = grams([f"{filler} before the lanterns go out {filler}"], trained, most=1)
    assert set(told.indices.tolist()) & set(held.indices.tolist())
    assert len(held.row) == 1


def test_common_grams_weigh_nothing() -> None:
    features = material.classifier(idf=LEAST_IDF - 0.5)
    assert not weights(features).any()
    assert len(grams(["the sealed appendix"], features, most=1).indices) == 0
    assert np.array_equal(np.unique(weights(FEATURES)), [36.0])


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["", "...", "moon council", "the lanterns go out", "a b c"]), max_size=8))
def test_rows_of_a_part_are_those_of_the_part_alone(texts: list[str]) -> None:
    held = grams([*texts, "the sealed appendix"], FEATURES, most=2)
    part, alone = held.of_rows(1, len(texts) + 1), grams([*texts, "the sealed appendix"][1:], FEATURES, most=2)
    for ours, theirs in zip(part, alone, strict=True):
        assert np.array_equal(ours, theirs)


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 250"):
        Reference.of(material.BENIGN[:200], FEATURES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"none\.npz"):
        Reference.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("key", "change", "problem"),
    [
        ("head", lambda a: a + np.array([1, 0, 0, 0], np.int32), "format"),
        ("head", lambda a: a + np.array([0, -10, 0, 0], np.int32), "cannot be"),
        ("row", lambda a: a[::-1].copy(), "cannot be"),
        ("head", lambda a: a[0], "do not fit"),
        ("head", lambda a: a - np.array([0, 0, 0, 65], np.int32), "do not fit"),
        ("row", lambda a: a[1:], "do not fit"),
        ("counts", lambda a: a * np.uint8(0), "cannot be"),
        ("counts", lambda a: a.astype(np.float32), "holds"),
        ("steps", lambda a: a * np.int32(1000), "cannot be"),
        ("steps", lambda a: a[:-1], "do not fit"),
        ("states", lambda a: a[:1], "do not fit"),
        ("states.scale", lambda a: a * np.float32(np.nan), "do not fit"),
        ("states.owner", lambda a: a[:-1], "do not fit"),
        ("states.owner", lambda a: a + np.int32(1), "do not fit"),
        ("states.owner", lambda a: a[None], "do not fit"),
        ("states.scale", lambda a: a[:1].reshape(()), "do not fit"),
        ("states.scale", lambda a: a[:-1], "do not fit"),
    ],
)
def test_a_damaged_reference_is_refused(key: str, change: object, problem: str) -> None:
    arrays = data.unpack("x", material.reference(FEATURES, material.encoder()).pack())
    arrays[key] = change(arrays[key])  # type: ignore[operator]
    with pytest.raises(ArtefactError, match=problem):
        Reference.unpack("x", data.pack(arrays))
