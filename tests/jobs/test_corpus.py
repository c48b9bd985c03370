"""Labelled files: what is read, what is refused, and folds that keep a source together."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import DataError, SchemaError
from aimds.jobs import corpus
from aimds.schema import CHANNELS


def write(path: Path, **changes: list[object] | None) -> Path:
    columns: dict[str, list[object] | None] = {
        "text": ["a", "b", "c"],
        "label": [0, 1, 1],
        "category": ["benign", "jailbreak", "indirect_injection"],
        "source": ["s1", "s2", "s3"],
        "terms": ["permissive", "permissive", "other"],
    }
    pq.write_table(pa.table({name: column for name, column in (columns | changes).items() if column is not None}), path)
    return path


def test_categories_become_threats_and_channels(tmp_path: Path) -> None:
    read = corpus.read(write(tmp_path / "x.parquet"))
    assert read.threat.tolist() == ["none", "jailbreak", "indirect_injection"]
    assert [CHANNELS[code] for code in read.channel] == ["user", "user", "document"]


def test_terms_choose_rows(tmp_path: Path) -> None:
    assert len(corpus.read(write(tmp_path / "x.parquet"), terms="permissive")) == 2
    with pytest.raises(DataError, match="no rows with terms == 'none such'"):
        corpus.read(tmp_path / "x.parquet", terms="none such")


def test_a_missing_column_and_an_unknown_category_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="column 'label': missing"):
        corpus.read(write(tmp_path / "x.parquet", label=None))
    with pytest.raises(SchemaError, match="row 1: is 'mystery'"):
        corpus.read(write(tmp_path / "y.parquet", category=["benign", "mystery", "jailbreak"]))


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([0, None, 1], "None"),
        ([0, 2, 1], "2"),
        ([1, 300, 0], "300"),
        (["0", "attack", "1"], "'attack'"),
        ([0.0, 0.5, 1.0], "0.5"),
        ([0.0, float("nan"), 1.0], "nan"),
        ([[0], [1], [1]], r"\[0\]"),
    ],
)
def test_a_label_that_is_none_is_named_with_its_row(tmp_path: Path, labels: list[object], named: str) -> None:
    with pytest.raises(SchemaError, match=rf"'label', row [01]: is {named}, expected 1 for an attack or 0"):
        corpus.read(write(tmp_path / "x.parquet", label=labels))


@pytest.mark.parametrize("labels", [[0, 1, 1], ["0", "1", "1"], [0.0, 1.0, 1.0], [False, True, True]])
def test_labels_may_be_of_any_kind_that_says_0_or_1(tmp_path: Path, labels: list[object]) -> None:
    label = corpus.read(write(tmp_path / "x.parquet", label=labels)).label
    assert (label.tolist(), label.dtype) == ([0, 1, 1], np.int8)


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read"):
        corpus.read(tmp_path / "x.parquet")


def test_no_source_is_in_two_folds_and_every_fold_has_both_classes() -> None:
    rng = np.random.default_rng(0)
    source = np.array([f"s{number}" for number in rng.integers(0, 30, 2000)], object)
    label = np.array([int(name[1:]) % 2 for name in source], np.int8)
    fold = corpus.folds(source, label, 5)
    for name in set(source):
        assert len(set(fold[source == name])) == 1
    for number in range(5):
        assert set(label[fold == number]) == {0, 1}


def test_folds_of_rows_are_of_one_size_and_follow_from_the_seed() -> None:
    fold = corpus.row_folds(1000, 6, 3)
    assert np.bincount(fold).tolist() == [167] * 4 + [166] * 2
    assert (fold == corpus.row_folds(1000, 6, 3)).all()
    assert (fold != corpus.row_folds(1000, 6, 4)).any()
