from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hunt_data import SENTENCE, hits, hunt, log

from aimds.detect.normalize import normalize
from aimds.errors import ArtefactError
from aimds.jobs.hunt import work


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


def test_a_missing_artefact_stops_the_hunt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise ArtefactError("vocabulary.npz", "is missing")

    monkeypatch.setattr(work, "normalize", missing)
    with pytest.raises(Exception, match=r"vocabulary\.npz: is missing"):
        hunt(log(tmp_path / "a.parquet", 10), tmp_path / "out")
