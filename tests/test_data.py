"""Shipped artefacts: listed with their hashes, refused when they differ."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from aimds import data
from aimds.errors import ArtefactError


def test_every_learnt_artefact_is_in_the_manifest_with_its_hash() -> None:
    folder = data.path("manifest.json").parent
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.npz")}
    assert found
    assert data.manifest() == found


def test_an_artefact_whose_hash_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(data.manifest()))
    monkeypatch.setattr(data, "manifest", lambda: {name: "0" * 64})
    with pytest.raises(ArtefactError, match="SHA-256"):
        data.read_bytes(name)


def test_a_missing_artefact_says_what_to_do() -> None:
    with pytest.raises(ArtefactError, match="reinstall"):
        data.read_bytes("no-such-file.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not a zip"])
def test_a_damaged_file_is_an_artefact_error(content: bytes) -> None:
    with pytest.raises(ArtefactError, match=r"x\.npz"):
        data.unpack("x.npz", content)


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "evil.npz"
    np.savez(file, evil=np.array([{"a": 1}], object))
    with pytest.raises(ArtefactError, match="cannot be read"):
        data.unpack(file, file.read_bytes())


def test_a_folder_is_written_whole_with_its_manifest_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    data.write(folder, {"a.npz": b"first", "card.md": b"words"})
    assert data.read_file(folder / "a.npz") == b"first"
    assert sorted(file.name for file in folder.iterdir()) == ["a.npz", "card.md", "manifest.json"]


def test_a_file_that_was_changed_after_it_was_sealed_is_refused(tmp_path: Path) -> None:
    data.write(tmp_path, {"a.npz": b"first", "b.npz": b"second"})
    (tmp_path / "a.npz").write_bytes(b"other")
    with pytest.raises(ArtefactError, match=r"a\.npz.*SHA-256"):
        data.read_file(tmp_path / "a.npz")
    assert data.read_file(tmp_path / "b.npz") == b"second"


def test_a_file_the_manifest_beside_it_does_not_name_is_refused(tmp_path: Path) -> None:
    data.write(tmp_path, {"a.npz": b"first"})
    (tmp_path / "late.npz").write_bytes(b"late")
    with pytest.raises(ArtefactError, match=r"late\.npz"):
        data.read_file(tmp_path / "late.npz")


def test_a_file_without_a_manifest_is_read_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"first")
    assert data.read_file(tmp_path / "a.npz") == b"first"
    with pytest.raises(ArtefactError, match=r"b\.npz"):
        data.read_file(tmp_path / "b.npz")
