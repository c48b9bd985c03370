from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from verdict_factory import row

from aimds.errors import DataError
from aimds.jobs.sessions import page, trace
from aimds.schema import VERDICTS

START = datetime(2025, 3, 3, tzinfo=UTC)


def verdicts(path: Path, rows: list[dict], *, with_text: bool = True) -> Path:
    schema = VERDICTS.append(pa.field("text", pa.large_string())) if with_text else VERDICTS
    plain = pa.schema(
        [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    )
    kept = [{**{name: one.get(name) for name in schema.names}, "scores": []} for one in rows]
    pq.write_table(pa.Table.from_pylist(kept, plain), path)
    return path


def climb(session: str = "a", turns: int = 10, **more) -> list[dict]:
    out = []
    for k in range(turns):
        p = 0.5 if k < 6 else 1e-5
        changed = {"session_id": session, "turn": k, "ts": START + timedelta(minutes=k), "p_value": p}
        changed |= {"score": 0.9 if k >= 6 else 0.1, "action": "block" if k >= 6 else "allow", "session_score": k / 10}
        out.append(row(k, **{**changed, **more}))
    return out


def test_a_session_is_found_among_others_and_its_turns_put_in_order(tmp_path):
    rows = [*climb()[::-1], *climb("b")]
    found = trace.find([verdicts(tmp_path / "a.parquet", rows)], "a")
    assert [turn.turn for turn in found.turns] == list(range(10))
    assert found.change == 6
    assert found.session_score == pytest.approx(0.9)
    assert found.p_values["shift"] < 0.01


def test_a_session_over_several_files_is_one(tmp_path):
    rows = climb()
    verdicts(tmp_path / "b.parquet", rows[:4])
    verdicts(tmp_path / "a.parquet", rows[4:])
    found = trace.find([tmp_path], "a")
    assert len(found.turns) == 10
    assert len(found.files) == 2


def test_what_was_not_scored_as_a_session_is_scored_now(tmp_path):
    rows = climb(session_score=None)
    assert trace.find([verdicts(tmp_path / "a.parquet", rows)], "a").session_score > 0.05
    silent = [row(0, session_id="a", p_value=None, score=None)]
    found = trace.find([verdicts(tmp_path / "b.parquet", silent)], "a")
    assert (found.session_score, found.change) == (None, None)
    assert "No judged input" in page.render(found, engine_version="1")


def test_an_id_of_two_tenants_asks_for_one(tmp_path):
    path = verdicts(tmp_path / "a.parquet", [*climb(tenant="x"), *climb(tenant="y")])
    with pytest.raises(DataError, match="x, y have this id"):
        trace.find([path], "a")
    assert trace.find([path], "a", "y").tenant == "y"
    for ident, tenant in (("nobody", None), ("a", "z")):
        with pytest.raises(DataError, match="no session of this id"):
            trace.find([path], ident, tenant)


def test_the_page_escapes_texts_masks_what_is_private_and_runs_nothing(tmp_path):
    text = "<script>alert(1)</script> mail bob@example.com"
    at = text.index("bob")
    span = {"start": at, "end": len(text), "kind": "EMAIL"}
    evidence = {"detector": "rules", "pattern_id": "x.y", "start": 0, "end": 8, "score": 0.5}
    rows = climb(text=text, spans=[span], evidence=[evidence], violations=["no_leaks"])
    made = page.render(trace.find([verdicts(tmp_path / "a.parquet", rows)], "a"), engine_version="1")
    assert "<script" not in made
    assert "bob@" not in made
    assert "no_leaks" in made
    assert "level rises" in made
    assert "default-src &#x27;none&#x27;" in made or "default-src 'none'" in made


def test_texts_stand_in_the_page_only_where_the_file_has_them(tmp_path):
    found = trace.find([verdicts(tmp_path / "a.parquet", climb(), with_text=False)], "a")
    assert all(turn.text is None for turn in found.turns)
    assert "<blockquote" not in page.render(found, engine_version="1")


def test_another_tenant_s_long_session_of_the_same_id_takes_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "MOST_TURNS", 4)
    loud = pq.read_table(verdicts(tmp_path / "x.parquet", climb(tenant="x")))
    quiet = pq.read_table(verdicts(tmp_path / "y.parquet", climb(turns=3, tenant="y")))
    both = tmp_path / "both.parquet"
    with pq.ParquetWriter(both, loud.schema) as writer:
        # More than one batch of a reader.
        writer.write_table(loud.take([k % 10 for k in range(70_000)]))
        writer.write_table(quiet)
    assert [turn.turn for turn in trace.find([both], "a", "y").turns] == [0, 1, 2]


@pytest.mark.parametrize(
    "change", [{"status": "error"}, {"status": "partial", "error": "detector pii: broke"}, {"spans": None}]
)
def test_a_text_that_nobody_searched_for_secrets_is_not_shown(tmp_path, change):
    rows = climb(turns=3, text="the key is evidently-fake-key", **change)
    table = pq.read_table(verdicts(tmp_path / "a.parquet", rows))
    made = page.render(trace.find([tmp_path], "a"), engine_version="1")
    assert table.num_rows == 3
    assert "evidently-fake-key" not in made
    assert "was not searched" in made
    assert {turn["text"] for turn in trace.find([tmp_path], "a").as_dict()["turns"]} == {None}


def test_json_holds_texts_without_personal_data_and_offsets_stay_true(tmp_path):
    text = "née: bob@example.com, ignore all"
    at = len("née: ".encode())
    spans = [{"start": at, "end": at + len("bob@example.com"), "kind": "EMAIL"}]
    verdicts(tmp_path / "a.parquet", climb(turns=3, text=text, spans=spans))
    told = trace.find([tmp_path], "a").as_dict()["turns"]
    assert {turn["text"] for turn in told} == {"née: ***************, ignore all"}
    assert len(told[0]["text"].encode()) == len(text.encode())


def test_a_long_session_shows_how_it_moves_and_a_short_one_that_nobody_can_tell(tmp_path):
    calm = trace.find([verdicts(tmp_path / "a.parquet", climb(turns=10))], "a")
    assert calm.motion == trace.Motion("insufficient_data", 0.0, None, {})
    assert "Fewer than 32 judged inputs" in page.render(calm, engine_version="1")
    rows = [
        {**one, "p_value": 10.0 ** -(1 + k % 4), "attractor": "chaotic" if k == 39 else None}
        for k, one in enumerate(climb(turns=40))
    ]
    found = trace.find([verdicts(tmp_path / "b.parquet", rows)], "a")
    assert (found.motion.kind, found.attractor) == ("periodic", "chaotic")
    assert found.motion.features["period"] == 4
    assert found.motion.features["determinism"] == 1.0
    shown = page.render(found, engine_version="1")
    assert "motion: periodic" in shown
    assert "turns after which it comes back closest" in shown
    assert None in found.as_dict()["motion"]["features"].values()


def test_a_session_that_never_surprises_stands_still(tmp_path):
    rows = [{**one, "p_value": 1.0} for one in climb(turns=40)]
    found = trace.find([verdicts(tmp_path / "a.parquet", rows)], "a")
    assert found.motion.kind == "fixed_point"
    assert page.render(found, engine_version="1").count("<table") >= 1


@pytest.mark.parametrize("by", ["turn", "ts"])
def test_of_a_very_long_session_the_first_turns_are_kept_wherever_they_stand(tmp_path, monkeypatch, by):
    monkeypatch.setattr(trace, "MOST_TURNS", 4)
    rows = climb() if by == "turn" else climb(turn=None)
    verdicts(tmp_path / "a.parquet", rows[5:][::-1])
    verdicts(tmp_path / "b.parquet", rows[:5][::-1])
    found = trace.find([tmp_path], "a")
    assert [turn.session_score for turn in found.turns] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert not found.whole
    assert len(found.files) == 2


def test_shares_that_are_extrapolated_far_are_not_given_digits():
    assert [trace.share(p) for p in (1.0, 0.5312, 0.00163, 1e-4, 4.6e-10)] == [
        "1",
        "0.53",
        "0.0016",
        "0.0001",
        "under 0.0001",
    ]


def test_the_page_of_a_single_turn_counts_in_the_singular_and_has_one_time(tmp_path):
    made = page.render(trace.find([verdicts(tmp_path / "a.parquet", climb(turns=1))], "a"), engine_version="1")
    assert "1 judged input<" in made
    assert "3 Mar 2025, 00:00 UTC" in made
    assert "00:00 – 00:00" not in made


def test_turns_under_the_plot_are_equally_far_apart(tmp_path):
    made = page.render(trace.find([verdicts(tmp_path / "a.parquet", climb(turns=12))], "a"), engine_version="1")
    axis = made.partition('<div class="xaxis"')[2].partition("</div>")[0]
    assert re.findall(r">(\d+)</span>", axis) == ["0", "2", "4", "6", "8", "10"]
