"""The sample traffic: varied, honest about what it is, the same for the same seed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds import schema
from aimds.taxonomy import THREATS

EXAMPLES = Path(__file__).parents[1] / "examples"
RESERVED = (".test", "example.com", "example.org", "example.net")


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(EXAMPLES))


traffic, phrases = load("traffic"), load("phrases")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    paths = traffic.write(tmp_path_factory.mktemp("logs"), 20_000, 3, 7, 7)
    assert [pq.read_metadata(path).num_rows for path in paths] == [6666, 6667, 6667]
    return pa.concat_tables([pq.read_table(path) for path in paths])


def test_rows_fit_the_data_contract(table: pa.Table) -> None:
    batch = schema.requests(table)
    assert batch.num_rows == 20_000
    assert set(table["expected"].to_pylist()) == set(THREATS) - {"harmful_request"}


def test_nearly_all_texts_differ(table: pa.Table) -> None:
    assert len(set(table["text"].to_pylist())) >= 0.95 * table.num_rows


def test_attacks_are_three_to_five_percent_and_every_type_has_several(table: pa.Table) -> None:
    expected = table["expected"].to_pylist()
    attacks = [threat for threat in expected if threat != "none"]
    assert 0.03 <= len(attacks) / len(expected) <= 0.05
    assert min(attacks.count(threat) for threat in set(attacks)) >= 8


def test_even_a_small_log_holds_every_type(tmp_path: Path) -> None:
    (path,) = traffic.write(tmp_path, 3000, 1, 1, 7)
    assert set(pq.read_table(path)["expected"].to_pylist()) == set(THREATS) - {"harmful_request"}


def test_turns_of_a_session_follow_in_time_and_belong_to_one_tenant(table: pa.Table) -> None:
    sessions: dict[str, list[dict[str, Any]]] = {}
    for row in table.drop(["text"]).to_pylist():
        sessions.setdefault(row["session_id"], []).append(row)
    assert max(len(turns) for turns in sessions.values()) >= 8
    for turns in sessions.values():
        assert [turn["turn"] for turn in turns] == list(range(len(turns)))
        assert all(a["ts"] < b["ts"] for a, b in pairwise(turns))
        assert len({turn["tenant"] for turn in turns}) == 1


def test_ids_are_unique_and_rows_sorted_within_a_file(tmp_path: Path, table: pa.Table) -> None:
    ids = table["request_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    (path,) = traffic.write(tmp_path, 500, 1, 3, 2)
    times = pq.read_table(path)["ts"].to_pylist()
    assert times == sorted(times)


def test_days_have_a_rhythm_and_channels_tenants_and_scripts_are_mixed(table: pa.Table) -> None:
    hours = [at.hour for at in table["ts"].to_pylist()]
    assert hours.count(9) > 3 * hours.count(23)
    assert set(table["channel"].to_pylist()) == set(schema.CHANNELS)
    assert len(set(table["tenant"].to_pylist())) == len(traffic.TENANTS)
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in set("".join(table["text"].to_pylist()))}
    assert {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "ARABIC", "DEVANAGARI"} <= scripts


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    paths = [traffic.write(folder, 400, 2, seed, 3) for folder, seed in ((first, 5), (again, 5), (other, 6))]
    tables = [pa.concat_tables([pq.read_table(path) for path in some]) for some in paths]
    assert tables[0].equals(tables[1])
    texts = [set(table["text"].to_pylist()) for table in tables]
    assert len(texts[0] & texts[2]) < 0.1 * len(texts[0])


def test_a_file_that_would_hold_the_same_is_left_alone(tmp_path: Path) -> None:
    paths = traffic.write(tmp_path, 400, 2, 5, 3)
    for path in paths:
        os.utime(path, (1, 1))
    paths[1].write_bytes(b"cut")
    traffic.write(tmp_path, 400, 2, 5, 3)
    assert paths[0].stat().st_mtime == 1
    assert pq.read_metadata(paths[1]).num_rows == 200
    traffic.write(tmp_path, 400, 2, 6, 3)
    assert paths[0].stat().st_mtime != 1


def test_every_host_and_address_is_reserved(table: pa.Table) -> None:
    pairs = zip(table["text"].to_pylist(), table["expected"].to_pylist(), strict=True)
    text = "\n".join(text for text, expected in pairs if expected != "adversarial_suffix")
    for start in ("https://", "http://", "@"):
        for after in text.split(start)[1:]:
            host = (
                "".join(c if c.isascii() and (c.isalnum() or c in ".-") else " " for c in after[:60])
                .split(" ")[0]
                .rstrip(".")
            )
            if start != "@" or "." in host:
                assert host.endswith(RESERVED), host


def test_every_template_can_be_filled() -> None:
    random, filler = Random(0), phrases.Phrases()
    given = {"payload": "x", "codec": "x", "document": "x"}
    count = 0
    todo: list[tuple[Any, str]] = [
        (phrases.load(name), "en") for name in ("benign", "attacks", "lookalikes", "material")
    ]
    while todo:
        item, lang = todo.pop()
        if isinstance(item, dict):
            todo += [
                (value, item.get("lang", lang))
                for key, value in item.items()
                if key not in ("lang", "domain", "threat")
            ]
        elif isinstance(item, list):
            todo += [(value, lang) for value in item]
        elif isinstance(item, str):
            count += 1
            assert filler.fill(item, random, lang, **given)
    assert count > 300


def test_encoded_attacks_come_in_many_known_disguises(table: pa.Table) -> None:
    assert len(set(traffic.CODECS)) == len(traffic.CODECS) >= 12
    assert {*traffic.CODECS} <= {*traffic.DISGUISES}
    texts = [row["text"] for row in table.to_pylist() if row["expected"] == "obfuscation"]
    assert len({name for name in traffic.CODECS if any(name in text for text in texts)}) >= 10


def test_the_command_line_writes_files_and_refuses_nonsense(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "traffic.py"), "-o", str(tmp_path)]
    done = subprocess.run([*script, "--rows", "0", "--files", "2"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith(" KB)") and "(0.0 " not in line for line in lines)
    assert pq.read_table(tmp_path / "requests-001.parquet").schema.equals(traffic.SCHEMA)
    assert subprocess.run([*script, "--files", "0"], capture_output=True, check=False).returncode == 2


def test_the_quickstart_is_three_lines() -> None:
    tree = ast.parse((EXAMPLES / "quickstart.py").read_text(encoding="utf-8"))
    assert isinstance(tree.body[1], ast.Import)
    assert isinstance(tree.body[2], ast.For)
    assert len(tree.body) == 3
    assert len(tree.body[2].body) == 1
