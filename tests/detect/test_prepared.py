"""What a start reads instead of making it: the same as what it would make, and left alone where it is of other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aimds import data
from aimds.detect.patterns import Bank, index_file
from aimds.detect.prepared import main
from aimds.detect.rules import Rules, required_file


def test_the_artefacts_are_what_is_made_anew(tmp_path: Path) -> None:
    main(tmp_path)
    for name in (index_file.INDEX, required_file.REQUIRED):
        again, shipped = data.unpack(name, (tmp_path / name).read_bytes()), data.read_arrays(name)
        hint = "run `python -m aimds.detect.prepared`"
        assert again.keys() == shipped.keys(), hint
        for part, array in shipped.items():
            assert array.dtype == again[part].dtype, hint
            np.testing.assert_array_equal(array, again[part], f"{part}: {hint}")


def test_a_bank_is_the_same_whether_its_tables_were_read_or_made() -> None:
    home = data.path(data.MANIFEST).parent
    read, made = Bank.load(), Bank.load(home)
    assert index_file.read(made.version) is not None
    assert read.version == made.version
    assert read.patterns == made.patterns
    np.testing.assert_array_equal(read.limits, made.limits)
    for name in ("words", "near"):
        for one, other in zip(getattr(read.index, name), getattr(made.index, name), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    for one, other in zip(read.index.tables.blocks, made.index.tables.blocks, strict=True):
        np.testing.assert_array_equal(one.cost, other.cost)
        np.testing.assert_array_equal(one.local, other.local)
        np.testing.assert_array_equal(one.lengths, other.lengths)
        assert np.shares_memory(one.cost, read.index.tables.cost)
    assert read.lexicon == made.lexicon


def test_what_was_made_of_other_files_is_left_alone() -> None:
    assert index_file.read("0" * 64) is None
    assert required_file.read("0" * 12) is None
    assert required_file.read(Rules.load().version) is not None
