from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hunt_data import OTHER, SENTENCE, hits, hunt, log

from aimds.detect.normalize import normalize
from aimds.detect.pii import Pii
from aimds.errors import ArtefactError
from aimds.jobs.hunt import Options, work


@pytest.mark.parametrize("bad", [[0], [3, 4], [9], list(range(10))])
def test_a_row_that_breaks_a_stage_hides_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[int]
) -> None:
    def fragile(values: Any, *rest: Any) -> Any:
        if b"POISON" in values.tobytes():
            raise ValueError("poisoned")
        return normalize(values, *rest)

    monkeypatch.setattr(work, "normalize", fragile)
    given: list[str | None] = ["POISON" if row in bad else f"{SENTENCE} {row}" for row in range(10)]
    result = hunt(log(tmp_path / "a.parquet", 10, given=given), tmp_path / "out")
    assert [row["row"] for row in hits(tmp_path / "out")] == [row for row in range(10) if row not in bad]
    assert result.findings.unjudged == len(bad)
    assert result.findings.rows == 10


def test_a_text_with_several_hits_is_searched_for_personal_data_once_and_not_at_all_without_excerpts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[int] = []
    scan = Pii.scan

    def counting(self: Pii, texts: Any, views: Any) -> Any:
        scanned.append(len(texts[1]) - 1)
        return scan(self, texts, views)

    monkeypatch.setattr(Pii, "scan", counting)
    both = f"{SENTENCE} And {OTHER.text}. Write to anna@example.com."
    path = log(tmp_path / "a.parquet", 3, given=[both, "A ferry.", both])
    hunt(path, tmp_path / "out")
    found = hits(tmp_path / "out")
    assert [row["row"] for row in found] == [0, 0, 2, 2]
    assert all("*" * 16 in row["excerpt"] and "anna" not in row["excerpt"] for row in found)
    assert sum(scanned) == 2
    hunt(path, tmp_path / "none", options=Options(excerpts=False))
    assert len(hits(tmp_path / "none")) == 4
    assert sum(scanned) == 2


def test_a_text_that_cannot_be_masked_loses_its_own_excerpt_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Pii.scan

    def fragile(self: Pii, texts: Any, views: Any) -> Any:
        if b"POISON" in texts[0].tobytes():
            raise ValueError("poisoned")
        return scan(self, texts, views)

    monkeypatch.setattr(Pii, "scan", fragile)
    given: list[str | None] = [f"{SENTENCE} {'POISON' if row == 3 else 'anna@example.com'}" for row in range(7)]
    result = hunt(log(tmp_path / "a.parquet", 7, given=given), tmp_path / "out")
    found = hits(tmp_path / "out")
    assert [row["row"] for row in found] == list(range(7))
    assert [row["row"] for row in found if row["excerpt"] is None] == [3]
    assert [row["row"] for row in found if row["excerpt_start"] is None] == [3]
    assert all(row["excerpt"].endswith("*") for row in found if row["row"] != 3)
    assert result.findings.unjudged == 0


def test_a_missing_artefact_stops_the_hunt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise ArtefactError("vocabulary.npz", "is missing")

    monkeypatch.setattr(work, "normalize", missing)
    with pytest.raises(Exception, match=r"vocabulary\.npz: is missing"):
        hunt(log(tmp_path / "a.parquet", 10), tmp_path / "out")
