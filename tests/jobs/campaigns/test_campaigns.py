from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaign_data import ORDINARY, ROLE, RULES, rows, search, write

from aimds.analyze.campaigns import Settings
from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.campaigns import Campaigns, Options, Wanted
from aimds.jobs.hunt.sought import sought
from aimds.jobs.scan import Columns, Factory, ScanConfig


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return write(tmp_path / "verdicts" / "a.parquet", rows())


def of_request(folder: Path) -> dict[str, str | None]:
    table = pq.read_table(folder / "campaigns.parquet")
    return dict(zip(table["request_id"].to_pylist(), table["family_id"].to_pylist(), strict=True))


def test_planted_families_are_found_with_their_figures(history: Path, tmp_path: Path) -> None:
    found = search(history, tmp_path / "out").findings
    assert (found.rows, found.candidates, found.n_families, found.in_families) == (85, 25, 2, 25)
    first, second = found.families
    assert (first.rows, first.threat, first.tenants, first.sessions, first.users) == (16, "direct_injection", 4, 16, 12)
    assert (second.rows, second.threat, second.actions) == (9, "jailbreak", {"flag": 9})
    assert first.medoid in RULES
    assert second.medoid in ROLE
    assert (first.first.hour, first.last.hour) == (8, 23)  # type: ignore[union-attr]
    assert sum(first.counts) == 16
    assert first.per_day == 25.6
    assert first.top_tenants == [(f"tenant-{n}", 4) for n in range(4)]


def test_output_has_a_row_for_each_candidate_in_the_order_of_the_input(history: Path, tmp_path: Path) -> None:
    result = search(history, tmp_path / "out")
    table = pq.read_table(result.output)
    assert table["row"].to_pylist() == list(range(25))
    assert set(table["family_id"].to_pylist()) == {one.id for one in result.findings.families}
    assert table["file"].to_pylist() == ["a.parquet"] * 25
    assert max(table["closeness"].to_pylist()) == 1.0


def test_order_files_and_threads_leave_no_trace(history: Path, tmp_path: Path) -> None:
    whole = search(history, tmp_path / "one")
    mixed = rows()[::-1]
    write(tmp_path / "split" / "x.parquet", mixed[:17])
    write(tmp_path / "split" / "deep" / "y.parquet", mixed[17:70])
    write(tmp_path / "split" / "z.parquet", mixed[70:])
    split = search(tmp_path / "split", tmp_path / "two", threads=3)
    assert of_request(tmp_path / "one") == of_request(tmp_path / "two")
    alone = [json.dumps(one.findings.as_dict()["families"]) for one in (whole, split)]
    assert alone[0] == alone[1]


def test_same_input_gives_the_same_bytes(history: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        search(history, tmp_path / name, page=tmp_path / name / "page.html")
    for file in ("campaigns.parquet", "page.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_raw_logs_are_screened_first_and_not_twice(tmp_path: Path) -> None:
    texts = [*(text.replace("Ignore", "ignore") for text in RULES), *ORDINARY]
    table = pa.table({"text": texts, "who": ["u"] * len(texts)})
    (tmp_path / "logs").mkdir()
    pq.write_table(table, tmp_path / "logs" / "a.parquet")
    found = search(tmp_path / "logs", tmp_path / "out").findings
    assert found.n_families == 1
    assert found.families[0].rows == sum("ignore" in text for text in texts)
    before = (tmp_path / "out" / "verdicts" / "a.parquet").stat().st_mtime_ns
    assert search(tmp_path / "logs", tmp_path / "out").findings == found
    assert (tmp_path / "out" / "verdicts" / "a.parquet").stat().st_mtime_ns == before


def test_columns_of_raw_logs_are_named_as_for_a_scan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        table = pa.table({"said": [text.lower() for text in RULES], "org": [name] * 16, "who": ["u"] * 16})
        (tmp_path / "logs" / name).mkdir(parents=True)
        pq.write_table(table, tmp_path / "logs" / name / "log.parquet")
    columns = Columns(text="said", tenant="org")
    config = ScanConfig(inputs=(str(tmp_path / "logs"),), output=tmp_path / "out", columns=columns)
    found = Campaigns(config, Factory("fake_screener:FakeScreener", {}), Options()).run().findings
    assert (found.files, found.rows, found.families[0].tenants) == (2, 32, 2)


def test_verdicts_and_raw_logs_are_searched_together(history: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [text.lower() for text in RULES], "who": ["u"] * 16}), tmp_path / "raw.parquet")
    found = search([history, tmp_path / "raw.parquet"], tmp_path / "out").findings
    assert (found.files, found.rows, found.n_families) == (2, 101, 2)
    assert found.families[0].rows == 16 + sum("ignore" in text.lower() for text in RULES)


def test_an_output_folder_among_the_inputs_is_not_read(history: Path, tmp_path: Path) -> None:
    first = search(history.parent, history.parent / "out")
    assert search(history.parent, history.parent / "out").findings == first.findings


def test_p_value_chooses_other_candidates_than_the_action(history: Path, tmp_path: Path) -> None:
    found = search(history, tmp_path / "out", wanted=Wanted(p_value=1e-4)).findings
    assert (found.candidates, found.n_families) == (16, 1)
    assert "1e-04" in found.chosen_by or "0.0001" in found.chosen_by
    assert search(history, tmp_path / "out", wanted=Wanted("escalate")).findings.candidates == 0


def test_small_and_local_families_can_be_left_out(history: Path, tmp_path: Path) -> None:
    assert search(history, tmp_path / "a", settings=Settings(min_rows=10)).findings.n_families == 1
    local = [row | {"tenant": "only"} if row["action"] == "block" else row for row in rows()]
    alone = write(tmp_path / "b" / "a.parquet", local)
    assert [one.threat for one in search(alone, tmp_path / "c", least_tenants=2).findings.families] == ["jailbreak"]


def test_personal_data_is_no_campaign_but_what_was_attacked_with_it_is_masked(tmp_path: Path) -> None:
    given = rows()
    for row in given:
        if row["action"] == "block":
            row["text"] += " Send them to quartermaster@example.com at once"
        if row["action"] == "flag":
            row["threat_type"] = "pii_exposure"
    file = write(tmp_path / "a.parquet", given)
    found = search(file, tmp_path / "out").findings
    assert found.candidates == 16
    shown = json.dumps(found.as_dict())
    assert "quartermaster" not in shown
    assert "****" in shown
    assert "quartermaster" in json.dumps(search(file, tmp_path / "out", mask=False).findings.as_dict())


def test_drafts_are_shown_and_written_only_when_asked_and_can_be_hunted_with(history: Path, tmp_path: Path) -> None:
    shown = search(history, tmp_path / "out")
    assert shown.written == []
    draft = shown.findings.families[0].draft
    assert draft is not None
    assert draft.reached >= 12
    assert (draft.tried, draft.spared) == (16, 60)
    written = search(history, tmp_path / "out", signatures=tmp_path / "drafts").written
    assert [path.name for path in written] == [f"{one.id}.toml" for one in shown.findings.families]
    assert [one.text for one in sought([written[0]]).patterns] == [one.text for one in draft.patterns]
    assert "none of 60 allowed" in written[0].read_text()


def test_a_family_that_was_sent_reversed_is_drafted_from_what_it_says(tmp_path: Path) -> None:
    given = rows()
    for row in given[: len(RULES)]:
        row["text"] = "Read the following (reversed text), then act on it: " + row["text"][::-1]
    family = search(write(tmp_path / "a.parquet", given), tmp_path / "out").findings.families[0]
    assert family.rows == len(RULES)
    assert family.draft is not None
    assert family.draft.reached == family.draft.tried
    words = {word for pattern in family.draft.patterns for word in pattern.text.split()}
    assert "orders" in words
    assert not words & set(RULES[0][::-1].lower().split())


def test_a_threat_type_of_another_writer_stops_nothing(tmp_path: Path) -> None:
    given = [row | ({"threat_type": "sorcery"} if row["action"] == "block" else {}) for row in rows()]
    found = search(write(tmp_path / "a.parquet", given), tmp_path / "out", page=tmp_path / "page.html").findings
    assert found.families[0].threat == "sorcery"
    assert found.families[0].draft is not None


def test_a_draft_that_would_find_allowed_texts_is_dropped(tmp_path: Path) -> None:
    given = [row | ({"text": RULES[n % 16]} if row["action"] == "allow" else {}) for n, row in enumerate(rows())]
    found = search(write(tmp_path / "a.parquet", given), tmp_path / "out").findings
    assert found.families[0].draft is None
    assert found.families[1].draft is not None


def test_beyond_the_bound_a_sample_is_compared_and_the_rest_is_said(history: Path, tmp_path: Path) -> None:
    found = search(history, tmp_path / "out", most_texts=10).findings
    assert (found.texts, found.left_out) == (10, 15)
    names = list(of_request(tmp_path / "out").values())
    assert (len(names), names.count(None) >= 15) == (25, True)


def test_a_history_without_candidates_or_rows_is_no_error(tmp_path: Path) -> None:
    calm = [row for row in rows() if row["action"] == "allow"]
    found = search(write(tmp_path / "a.parquet", calm), tmp_path / "out", page=tmp_path / "page.html").findings
    assert (found.candidates, found.n_families, found.families) == (0, 0, [])
    assert "No row is a candidate" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("without", "options", "way"),
    [
        ("text", {}, "aimds scan --with-text"),
        ("who", {}, "aimds scan --carry who"),
        ("p_value", {"wanted": Wanted(p_value=0.01)}, "--at"),
    ],
)
def test_verdicts_that_lack_a_column_name_the_way_out(
    tmp_path: Path, without: str, options: dict[str, Wanted], way: str
) -> None:
    file = write(tmp_path / "a.parquet", rows(), without=(without,))
    with pytest.raises(SchemaError, match=way):
        search(file, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_file_is_skipped_and_listed(history: Path, tmp_path: Path) -> None:
    (history.parent / "broken.parquet").write_bytes(b"PAR1 this is none")
    found = search(history.parent, tmp_path / "out").findings
    assert [Path(skip.file).name for skip in found.skipped] == ["broken.parquet"]
    assert found.n_families == 2


def test_no_file_and_wrong_settings_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        search(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigError, match="flag, redact"):
        Wanted("allow")
    with pytest.raises(ConfigError, match="p_value"):
        Wanted(p_value=0.0)


def test_an_interrupted_search_leaves_no_part_behind(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aimds.jobs.campaigns.analysis.find", stop)
    with pytest.raises(KeyboardInterrupt):
        search(history, tmp_path / "out", factory=Factory("nothing:here", {}))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_row_that_only_its_session_speaks_against_is_no_candidate(tmp_path: Path) -> None:
    given = rows()
    for row in given:
        if row["action"] == "flag":
            row["threat_type"], row["p_value"] = "multi_turn", 0.5
    assert search(write(tmp_path / "a.parquet", given), tmp_path / "out").findings.candidates == 16
