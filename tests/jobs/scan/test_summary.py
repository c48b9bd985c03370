from __future__ import annotations

import json

from aimds.jobs.scan.summary import Gap, Skip, Summary, merged, way_out


def test_neighbours_of_one_unreadable_stretch_are_one_gap_under_its_first_error() -> None:
    gaps = [
        Gap(1, 4, 9, "at 4", sticky=True),
        Gap(0, 2, 3, "died", sticky=False),
        Gap(1, 3, 4, "at 3", sticky=True),
        Gap(0, 3, 4, "died", sticky=False),
        Gap(2, 9, 10, "other group", sticky=True),
    ]
    assert merged(gaps) == [
        Gap(0, 2, 3, "died", sticky=False),
        Gap(0, 3, 4, "died", sticky=False),
        Gap(1, 3, 9, "at 3", sticky=True),
        Gap(2, 9, 10, "other group", sticky=True),
    ]


def test_the_summary_is_json_with_the_most_frequent_first() -> None:
    summary = Summary("out", actions={"allow": 3, "block": 5, "flag": 3}, skipped=[Skip("f", None, None, None, "why")])
    value = json.loads(json.dumps(summary.to_json()))
    assert list(value["actions"]) == ["block", "allow", "flag"]
    assert value["skipped"] == [{"file": "f", "row_group": None, "first_row": None, "rows": None, "error": "why"}]


FILE, ROWS = Skip("a", None, None, None, "why"), Skip("b", 0, 100, 50, "why")


def test_the_way_out_of_gaps_is_to_read_their_files_anew() -> None:
    again = "make what was skipped readable, or leave it out, and run the same command again"
    assert way_out([]) == ""
    assert way_out([ROWS]) == f"{again} with --overwrite"
    assert way_out([ROWS], "another folder") == f"{again} with another folder"
    assert way_out([FILE]).startswith(f"{again} (files called .jsonl")
    assert way_out([ROWS, FILE]).startswith(f"{again} with --overwrite (files called .jsonl")


def test_nothing_was_read_where_something_was_skipped_and_there_is_no_row() -> None:
    assert Summary("out", skipped=[FILE]).nothing_read
    assert not Summary("out", skipped=[ROWS], rows=1).nothing_read
    assert not Summary("out").nothing_read
