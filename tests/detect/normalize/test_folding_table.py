"""The shipped folding table: what it was built from, and what the kernels rely on."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from aimds import data
from aimds.detect.normalize import folding_table
from aimds.detect.normalize.confusables import LATIN, LOOSE, MARKS, STRICT
from aimds.detect.normalize.folding_table import INVISIBLE, MAX_GROWTH, SPACE, build_folding_file, class_of, fold_char


@pytest.mark.skipif(
    unicodedata.unidata_version != folding_table.unicode_version(), reason="built from another Unicode version"
)
def test_the_artefact_is_what_a_rebuild_gives(tmp_path: Path) -> None:
    build_folding_file(tmp_path / "again.npz")
    again = data.unpack("again", (tmp_path / "again.npz").read_bytes())
    shipped = data.read_arrays(folding_table.ARTEFACT)
    assert sorted(again) == sorted(shipped)
    for name, array in shipped.items():
        assert array.dtype == again[name].dtype
        np.testing.assert_array_equal(array, again[name], name)


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_character_folds_to_folds_to_itself_and_fits_the_buffer(kept: bool) -> None:
    table = folding_table.load()[kept]
    for m in range(1, len(table.bounds)):
        text = "".join(map(chr, table.pool[table.bounds[m - 1] : table.bounds[m]].tolist()))
        assert "".join(fold_char(char, keep_case=kept) for char in text) == text
    for code in (0xDF, 0x130, 0x2167, 0xFB03, 0xFDFA, 0x1D400, 0x1F1E6):
        assert len(fold_char(chr(code), keep_case=kept).encode()) <= MAX_GROWTH * len(chr(code).encode())


def test_look_alikes_stand_for_ascii_letters_and_are_none_themselves() -> None:
    for table in (LATIN, STRICT, LOOSE):
        assert all(look.isascii() and look.isalpha() and not char.isascii() for char, look in table.items())
    assert all(sign.isascii() and not char.isascii() for char, sign in MARKS.items())
    assert not set(STRICT) & set(LOOSE)


def test_classes_of_some_characters() -> None:
    assert class_of("\u3000") == SPACE
    assert class_of("\u200b") == INVISIBLE
    assert class_of("\u0600") & INVISIBLE == 0
    assert class_of("\ue000") == 0
