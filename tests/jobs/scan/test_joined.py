"""A scan that joins turns says of each row what a gateway that joins them says of the same trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_screener import FakeScreener
from policy_screener import PolicyScreener
from scan_data import fingerprint

from aimds.analyze import joins
from aimds.analyze.sessions import Sessions
from aimds.errors import AimdsError
from aimds.gateway.joined import Joined as Live
from aimds.jobs.scan import Factory, Following, Scan, ScanConfig, joined, session_column
from aimds.jobs.scan.joined import Joined
from aimds.schema import check_verdicts, requests

JOINED = Following(joined=True)
ACROSS = Following(across_files=True, joined=True)


class Whole(PolicyScreener):
    """Finds an attack only where all its words stand together; fails at joined texts with one word, and counts."""

    asked: list[int] = []  # noqa: RUF012
    left = 1 << 30

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        if any("poison" in text and "ignore" in text for text in texts):
            raise ValueError("poisoned")
        type(self).left -= batch.num_rows
        if type(self).left < 0:
            raise KeyboardInterrupt
        self.asked.append(batch.num_rows)
        channels = batch.column("channel").cast(pa.string()).to_pylist()
        said = [
            ("1e-9 jailbreak" if name == "user" else "1e-5 jailbreak")
            if "ignore" in one and "rules" in one
            else f"{0.3 + 0.6 * (hash_of(one) % 89) / 89} none"
            for one, name in zip(texts, channels, strict=True)
        ]
        asked = batch.set_column(batch.schema.get_field_index("text"), "text", pa.array(said, pa.large_string()))
        return super().screen_batch(asked)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        made = FakeScreener().screen_batch(batch)
        place = made.schema.get_field_index("p_value")
        return made.set_column(place, made.schema.field(place), pa.nulls(batch.num_rows, pa.float64()))


def hash_of(text: str) -> int:
    return sum(text.encode()) * 7 + len(text)


def table(n: int = 300, sessions: int = 6, seed: int = 3) -> pa.Table:
    """Conversations in which words of an attack come in pieces, between short and long texts, some sent twice."""
    rng = np.random.default_rng(seed)
    pieces = [
        "ignore all",
        "of your rules",
        "hello again",
        "poison",
        "ü€𝄞" * 150,
        "x" * 1100,
        "y" * 1024,
        "",
        "z" * 1023,
    ]
    rows: list[dict[str, Any]] = []
    said = [0] * sessions
    for k in range(n):
        who = int(rng.integers(sessions))
        role = ["user", "user", "tool", "assistant", "document"][int(rng.integers(5))]
        odds = [0.05, 0.05, 0.5, 0.05, 0.1, 0.05, 0.05, 0.1, 0.05]
        text = str(rng.choice(pieces, p=odds)) + (f" {k}" if rng.random() < 0.5 else "")
        rows.append({"session_id": f"s{who}" if who else None, "role": role, "text": text, "turn": said[who]})
        said[who] += 1
        if rng.random() < 0.05:
            rows.append(rows[-1])
    return pa.Table.from_pylist(rows)


def split(folder: Path, whole: pa.Table, ends: Sequence[int]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, (start, stop) in enumerate(zip([0, *ends], [*ends, len(whole)], strict=True)):
        paths.append(folder / f"{place}.parquet")
        pq.write_table(whole.slice(start, stop - start), paths[-1], row_group_size=50)
    return paths


def run(inputs: Sequence[Path], output: Path, following: Following, workers: int = 1) -> Any:
    config = ScanConfig(tuple(map(str, inputs)), output, unit_rows=40, workers=workers)
    return Scan(config, Factory("test_joined:Whole", {}), following=following).run()


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def live(whole: pa.Table, size: int = 1) -> list[float | None]:
    asked = requests(whole.rename_columns([{"role": "channel"}.get(name, name) for name in whole.column_names]))
    sessions = Sessions(screener=Live(lambda: Whole(), lambda line: None))
    scores: list[float | None] = []
    for start in range(0, asked.num_rows, size):
        part = asked.slice(start, size)
        seen = sessions.observe(part, Whole().screen_batch(part), float(start))
        scores += seen.column("session_score").to_pylist()
    return scores


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "test_joined", sys.modules[__name__])
    monkeypatch.setattr(Whole, "asked", [])
    monkeypatch.setattr(Whole, "left", 1 << 30)


@pytest.mark.parametrize(("following", "ends"), [(JOINED, []), (ACROSS, [120, 121]), (ACROSS, [])])
def test_offline_says_what_live_says_of_the_same_trace(tmp_path: Path, following: Following, ends: list[int]) -> None:
    whole = table()
    run(split(tmp_path / "in", whole, ends), tmp_path / "out", following)
    found = read(tmp_path / "out")
    check_verdicts(found)
    assert found["session_score"].to_pylist() == live(whole) == live(whole, 64)
    run(split(tmp_path / "in", whole, ends), tmp_path / "apart", Following(across_files=following.across_files))
    apart = read(tmp_path / "apart")["session_score"].to_pylist()
    more = [one > 2 * other for one, other in zip(found["session_score"].to_pylist(), apart, strict=True) if other]
    assert sum(more) > 10


@pytest.mark.parametrize("following", [JOINED, ACROSS])
@pytest.mark.parametrize("rows", [40, 1000])
def test_the_bytes_do_not_depend_on_passes_and_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following: Following, rows: int
) -> None:
    inputs = split(tmp_path / "in", table(), [90])
    run(inputs, tmp_path / "whole", following)
    for module, name, value in (
        (session_column, "TEXT_ROWS", rows),
        (session_column, "CHUNK_ROWS", 7),
        (joined, "ROWS", rows // 8),
    ):
        monkeypatch.setattr(module, name, value)
    run(inputs, tmp_path / "parts", following)
    assert fingerprint(tmp_path / "parts") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize("following", [JOINED, ACROSS])
def test_a_scan_killed_while_turns_are_joined_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, following: Following
) -> None:
    monkeypatch.setattr(joined, "ROWS", 16)
    inputs = split(tmp_path / "in", table(), [])
    run(inputs, tmp_path / "whole", following)
    rows, total = read(tmp_path / "whole").num_rows, sum(Whole.asked)
    assert rows < total < 2 * rows
    Whole.asked.clear()
    Whole.left = (rows + total) // 2
    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path / "out", following)
    done = sum(Whole.asked)
    (log,) = (tmp_path / "out" / ".aimds").rglob(joined.NAME)
    torn = log.read_bytes() + b"torn"
    log.write_bytes(torn)
    Whole.left = 1 << 30
    run(inputs, tmp_path / "out", following)
    assert sum(Whole.asked) <= total + 2 * 16
    assert done < sum(Whole.asked)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert list((tmp_path / "out" / ".aimds").rglob(joined.NAME)) == ([log] if following.across_files else [])
    assert run(inputs, tmp_path / "out", following).nothing_to_do


def test_a_log_that_was_tampered_with_is_not_used(tmp_path: Path) -> None:
    ends = pa.array([b"ignore all", b"of your rules", b"hello"], joined.TAIL.type)
    ask = (np.zeros(3, np.int64), np.ones(3, np.uint8), ends, np.zeros(3, np.uint8))
    first = Joined(Whole, tmp_path / "log").surprises(*ask)
    content = bytearray((tmp_path / "log").read_bytes())
    assert np.isnan(first[0])
    assert first[1] == pytest.approx(9)
    for place in range(len(content)):
        damaged = content.copy()
        damaged[place] ^= 255
        (tmp_path / "log").write_bytes(bytes(damaged))
        again = Joined(Whole, tmp_path / "log").surprises(*ask)
        assert np.array_equal(again, first, equal_nan=True)


def test_the_ends_of_texts_say_what_whole_texts_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("aü€𝄞 "), size=int(size))) for size in rng.integers(0, 900, 60)]
    kinds = rng.integers(0, 2, 60).astype(np.uint8)
    ends = joined.column(pa.array(texts, pa.large_string()), kinds)
    assert max(len(one) for one in ends.to_pylist()) == joins.STITCH_BYTES
    said: list[list[str]] = []

    class Heard(FakeScreener):
        def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            said[-1] += batch.column("text").to_pylist()
            return super().screen_batch(batch)

    asked = requests(pa.table({"text": texts, "session_id": ["s"] * 60, "turn": range(60)}))
    said.append([])
    Sessions(screener=Heard()).observe(asked, FakeScreener().screen_batch(asked), 0.0)
    said.append([])
    Joined(Heard, tmp_path / "log").surprises(np.zeros(60, np.int64), np.ones(60, np.uint8), ends, kinds)
    assert said[0] == said[1]


def test_rows_of_other_channels_leave_no_text() -> None:
    column = joined.column(pa.array(["a", "b", "c", None], pa.large_string()), np.array([0, 2, 3, 1], np.uint8))
    assert column.to_pylist() == [b"a", None, None, None]


def test_a_scan_that_joined_is_another_than_one_that_did_not(tmp_path: Path) -> None:
    inputs = split(tmp_path / "in", table(60), [])
    run(inputs, tmp_path / "out", Following())
    for other in (JOINED, ACROSS):
        with pytest.raises(AimdsError, match="settings"):
            run(inputs, tmp_path / "out", other)
