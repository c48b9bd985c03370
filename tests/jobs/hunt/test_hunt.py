from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hunt_data import OTHER, PARAPHRASE, PATTERN, RULES, SENTENCE, SOUGHT, START, fingerprint, hits, hunt, log, texts

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.hunt import Options
from aimds.jobs.hunt.hits import HITS
from aimds.jobs.hunt.sought import Sought
from aimds.jobs.scan import Limits, Silent

N = 250
PLAIN, ENCODED = list(range(4, N, 10)), list(range(7, N, 10))


def test_every_planted_row_is_found_as_written_and_encoded(tmp_path: Path) -> None:
    result = hunt(log(tmp_path / "a.parquet", N), tmp_path / "out")
    table = pq.read_table(tmp_path / "out/a.parquet")
    assert table.schema.names == HITS.names
    found = table.to_pylist()
    assert [row["row"] for row in found] == sorted(PLAIN + ENCODED)
    assert {row["pattern_id"] for row in found} == {PATTERN.id}
    assert [row["row"] for row in found if row["view"] == "base64"] == ENCODED
    for row in found:
        text = texts(N)[row["row"]].encode()
        assert 0 <= row["start"] < row["end"] <= len(text)
        if row["view"] == "text":
            said = text[row["start"] : row["end"]].decode()
            assert said.startswith("Whisper the hidden blueprint")
            assert said in SENTENCE
        assert row["request_id"] == str(row["row"])
        assert row["ts"] == START + timedelta(hours=row["row"])
        assert 0 < row["score"] <= 1
        assert text[row["excerpt_start"] :].decode().startswith(row["excerpt"])
    findings = result.findings
    assert (findings.rows, findings.rows_hit, findings.hits) == (N, 50, 50)
    assert (findings.first, findings.last) == (START + timedelta(hours=4), START + timedelta(hours=247))
    assert (findings.begins, findings.ends) == (START, START + timedelta(hours=N - 1))
    assert findings.sessions.count == 50
    assert findings.tenants.count == 3
    assert findings.views == {"base64": 25, "text": 25}
    assert [(one.id, one.rows) for one in findings.patterns] == [(PATTERN.id, 50), (OTHER.id, 0)]
    assert findings.timeline is not None
    assert sum(findings.timeline.hit) == 50
    assert sum(findings.timeline.rows) == N


def test_without_decoding_only_the_text_as_written_is_searched(tmp_path: Path) -> None:
    result = hunt(log(tmp_path / "a.parquet", N), tmp_path / "out", options=Options(decode=False))
    assert [row["row"] for row in hits(tmp_path / "out")] == PLAIN
    assert not result.findings.decoded


def test_a_paraphrase_is_found_where_the_threshold_reaches_it(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 2, given=[PARAPHRASE, "whisper to me about blueprints of a house"])
    near = Sought((PATTERN,), (0.02,))
    assert hunt(path, tmp_path / "near", near).findings.hits == 0
    assert hunt(path, tmp_path / "far", Sought((PATTERN,), (0.3,))).findings.rows_hit == 1


def test_a_signature_is_hunted_like_a_pattern(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 3, given=["hello", "The Lantern Keeper waits.", "Lantern keeper again"])
    result = hunt(path, tmp_path / "out", Sought(rules=RULES))
    assert [(row["row"], row["pattern_id"], row["view"]) for row in hits(tmp_path / "out")] == [
        (1, "new.lantern", None),
        (2, "new.lantern", None),
    ]
    assert result.findings.patterns[0].threshold is None
    both = hunt(path, tmp_path / "both", Sought(SOUGHT.patterns, SOUGHT.limits, RULES))
    assert both.findings.hits == 2


def test_a_row_with_two_patterns_has_two_hits_and_counts_once(tmp_path: Path) -> None:
    twice = f"{SENTENCE} {SENTENCE} And the lantern keeper obeys no rule of the harbour."
    result = hunt(log(tmp_path / "a.parquet", 1, given=[twice]), tmp_path / "out")
    assert sorted(row["pattern_id"] for row in hits(tmp_path / "out")) == [PATTERN.id, OTHER.id]
    assert (result.findings.rows_hit, result.findings.hits, result.findings.sessions.count) == (1, 2, 1)
    assert sum(group.rows for group in result.findings.tenants.top) == 1


def test_users_are_counted_and_columns_carried(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", N)
    result = hunt(path, tmp_path / "out", options=Options(user="who"))
    assert result.findings.users is not None
    assert result.findings.users.count == 4 * 3, "each of the three tenants has its own four users"
    assert {row["who"] for row in hits(tmp_path / "out")} == {0, 1, 2, 3}
    assert [row["who"] for row in hits(tmp_path / "out")] == [row["row"] % 4 for row in hits(tmp_path / "out")]
    with pytest.raises(ConfigError, match="pattern_id"):
        hunt(path, tmp_path / "x", carry=("pattern_id",))
    with pytest.raises(SchemaError, match="nobody"):
        hunt(path, tmp_path / "x", options=Options(user="nobody"))


@pytest.mark.parametrize(
    ("users", "kind"),
    [
        (pa.array([{"id": 1}] * 5), "struct"),
        (pa.array([["a"]] * 5), "list"),
        (pa.array([[("a", 1)]] * 5, pa.map_(pa.string(), pa.int64())), "map"),
    ],
)
def test_a_column_that_cannot_name_users_is_refused_before_anything_is_searched(
    tmp_path: Path, users: pa.Array, kind: str
) -> None:
    path = log(tmp_path / "a.parquet", 5)
    pq.write_table(pq.read_table(path).append_column("account", users), path)
    problem = rf"column 'account': .*holds {kind}.*a\.parquet, expected text or a number.*--user-column"
    with pytest.raises(SchemaError, match=problem):
        hunt(path, tmp_path / "out", options=Options(user="account"))
    assert not (tmp_path / "out").exists()


def test_an_object_in_json_lines_cannot_name_users_either(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": SENTENCE, "account": {"id": 1}}) + "\n")
    with pytest.raises(SchemaError, match=r"column 'account': .*--user-column"):
        hunt(tmp_path / "a.jsonl", tmp_path / "out", options=Options(user="account"))


def test_personal_data_is_starred_out_of_excerpts_unless_told_otherwise(tmp_path: Path) -> None:
    text = f"Write to zoe@example.com. {SENTENCE} Card 4111 1111 1111 1111."
    path = log(tmp_path / "a.parquet", 1, given=[text])
    hunt(path, tmp_path / "masked")
    hunt(path, tmp_path / "open", options=Options(mask=False))
    hunt(path, tmp_path / "none", options=Options(excerpts=False))
    [masked], [shown], [none] = (hits(tmp_path / name) for name in ("masked", "open", "none"))
    assert shown["excerpt"] == text
    assert "example.com" not in masked["excerpt"]
    assert "4111" not in masked["excerpt"]
    assert len(masked["excerpt"]) == len(text)
    assert SENTENCE in masked["excerpt"]
    assert (none["excerpt"], none["excerpt_start"]) == (None, None)


def test_rows_that_cannot_be_searched_are_counted_and_hide_no_other(tmp_path: Path) -> None:
    given = [None, "a" * 5000, SENTENCE, "b"]
    path = log(tmp_path / "a.parquet", 4, given=given)
    result = hunt(path, tmp_path / "out", limits=Limits(max_text_bytes=1000))
    assert result.findings.unjudged == 2
    assert [row["row"] for row in hits(tmp_path / "out")] == [2]
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": SENTENCE}) + "\nno json\n")
    broken = hunt(tmp_path / "b.jsonl", tmp_path / "lines")
    assert (broken.findings.rows, broken.findings.unjudged, broken.findings.rows_hit) == (2, 1, 1)


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_searched(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", N)
    (tmp_path / "logs/b.parquet").write_bytes(b"damaged")
    whole = log(
        tmp_path / "logs/c.parquet", N, write_page_checksum=True, use_dictionary=False, compression="none"
    ).read_bytes()
    at = whole.index(b"ferry number 150")
    (tmp_path / "logs/c.parquet").write_bytes(whole[:at] + b"F" + whole[at + 1 :])
    result = hunt(tmp_path / "logs", tmp_path / "out", options=Options(page=tmp_path / "out/hunt.html"))
    assert [(Path(skip.file).name, skip.first_row) for skip in result.run.skipped] == [
        ("b.parquet", None),
        ("c.parquet", 100),
    ]
    assert result.findings.rows == N + 150
    page = (tmp_path / "out/hunt.html").read_text()
    assert "b.parquet" in page
    assert "rows 100 to 199" in page
    assert json.loads((tmp_path / "out/_skipped.json").read_text())


def test_a_second_hunt_does_nothing_and_says_the_same(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", N)
    options = Options(page=tmp_path / "out/hunt.html")
    first = hunt(path, tmp_path / "out", options=options)
    before = fingerprint(tmp_path / "out")
    again = hunt(path, tmp_path / "out", options=options)
    assert again.run.nothing_to_do
    assert again.findings == first.findings
    assert fingerprint(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        (Sought((PATTERN,), (0.15,)), Options()),
        (Sought(SOUGHT.patterns, (0.15, 0.2)), Options()),
        (SOUGHT, Options(decode=False)),
        (SOUGHT, Options(excerpts=False)),
        (SOUGHT, Options(mask=False)),
    ],
)
def test_hits_of_another_hunt_are_kept_unless_told_otherwise(tmp_path: Path, wanted: Sought, options: Options) -> None:
    path = log(tmp_path / "a.parquet", 20)
    hunt(path, tmp_path / "out")
    with pytest.raises(DataError, match=r"does not hold hits of this hunt \(different: the settings\).*--overwrite"):
        hunt(path, tmp_path / "out", wanted, options=options)
    hunt(path, tmp_path / "out", wanted, options=options, overwrite=True)


def test_workers_units_and_batches_leave_no_trace_in_the_hits(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", N)
    log(tmp_path / "logs/b.parquet", 70)
    one = hunt(tmp_path / "logs", tmp_path / "one")
    many = hunt(tmp_path / "logs", tmp_path / "many", workers=2)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "many")
    other = hunt(tmp_path / "logs", tmp_path / "other", unit_rows=30, limits=Limits(batch_rows=7))
    assert hits(tmp_path / "one") == hits(tmp_path / "other")
    assert one.findings.samples == many.findings.samples
    assert one.findings.timeline == other.findings.timeline


def test_progress_counts_rows_read_not_hits(tmp_path: Path) -> None:
    class Told(Silent):
        rows = 0

        def advance(self, rows: int) -> None:
            self.rows += rows

    told = Told()
    result = hunt(log(tmp_path / "a.parquet", N), tmp_path / "out", progress=told)
    assert told.rows == N
    assert result.run.rows_screened == N
    assert result.as_dict()["rows_searched"] == N


SLOW = """
import sys, time
from pathlib import Path
sys.path[:0] = PATHS
from hunt_data import SOUGHT, hunt
from aimds.jobs.hunt import Options
from aimds.jobs.hunt.work import Hunting
from aimds.jobs.scan import Factory

class Slow(Hunting):
    def rows(self, job, chunk, counts):
        time.sleep(0.03)
        yield from super().rows(job, chunk, counts)

def slow():
    return Slow(SOUGHT)

out = Path(sys.argv[2])
result = hunt(Path(sys.argv[1]), out, options=Options(page=out / "hunt.html"), factory=Factory("__main__:slow", {}))
print(result.run.units_resumed, result.run.units_total)
"""


def slowly(logs: Path, out: Path) -> subprocess.Popen[str]:
    code = SLOW.replace("PATHS", repr([str(Path(__file__).parent), *filter(None, sys.path)]))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(logs), str(out)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )


def test_a_hunt_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", N)
    log(tmp_path / "logs/b.parquet", N)
    hunt(tmp_path / "logs", tmp_path / "whole", options=Options(page=tmp_path / "whole/hunt.html"))
    run = slowly(tmp_path / "logs", tmp_path / "out")
    end = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".aimds/*/*.part")) and run.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    run.kill()
    run.communicate()
    assert not (tmp_path / "out/hunt.html").exists()
    said, _ = slowly(tmp_path / "logs", tmp_path / "out").communicate(timeout=60)
    resumed, total = map(int, said.split())
    assert 0 < resumed < total
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_an_empty_log_makes_an_empty_hunt(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    result = hunt(tmp_path / "a.parquet", tmp_path / "out", options=Options(page=tmp_path / "hunt.html"))
    assert (result.findings.rows, result.findings.timeline, result.findings.samples) == (0, None, [])
    assert "Nothing was found" in (tmp_path / "hunt.html").read_text()
    json.dumps(result.as_dict())
