from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from campaign_data import RULES, rows, search, write
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.jobs.campaigns.map import HEIGHT, WIDTH, layout
from aimds.jobs.campaigns.page import render


def test_page_shows_families_and_carries_nothing_hostile(tmp_path: Path) -> None:
    given = rows()
    for row in given:
        if row["action"] == "block":
            row["text"] = f"<script>alert(1)</script>\u202e {row['text']}"
            row["tenant"] = '"><img src=x>'
    found = search(write(tmp_path / "a.parquet", given), tmp_path / "out").findings
    page = render(found, title="<b>Spring</b>", engine_version="1")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;b&gt;Spring" in page
    assert found.families[0].id in page
    assert "Drafted signature" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_page_without_times_or_masked_texts_says_so(tmp_path: Path) -> None:
    given = [row | {"ts": None, "tenant": None, "session_id": None} for row in rows()]
    found = search(write(tmp_path / "a.parquet", given), tmp_path / "out").findings
    first = replace(found.families[0], medoid=None, draft=None)
    page = render(replace(found, families=[first, *found.families[1:]]), title="t", engine_version="1")
    for words in ("No candidate carries a time", "no tenant ids", "could not be searched", "No signature could"):
        assert words in page
    assert found.families[0].rows == len(RULES)


@settings(max_examples=25)
@given(st.integers(0, 60), st.integers(0, 500))
def test_circles_stay_on_the_map_and_apart(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    likeness = rng.random((count, count)) * (rng.random() < 0.5)
    likeness = (likeness + likeness.T) / 2
    circles = layout(likeness.tolist(), rng.integers(1, 1000, count).tolist())
    for k, one in enumerate(circles):
        assert one.radius <= one.x <= WIDTH - one.radius
        assert one.radius <= one.y <= HEIGHT - one.radius
        for other in circles[:k]:
            far = math.hypot(one.x - other.x, one.y - other.y)
            assert far > 0.6 * (one.radius + other.radius)
