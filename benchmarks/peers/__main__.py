"""Command line: `python -m benchmarks.peers [FILE…] [--train FILE] [--pii FILE]`; one JSON line a comparison.

Without files a sample of our own is judged. A peer that is not set up is skipped, and a line on stderr says how to set
it up; README.md beside this file has the commands.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aimds import Screener
from aimds.schema import CHANNELS, enum
from benchmarks.peers import judging, pii, roster, rows
from benchmarks.peers.judging import Labelled, Row, Verdict
from benchmarks.peers.worker import RUNNERS, PeerFailedError, ask

SMOKE_FLOOR = 0.3
"""Share of the attacks of our own sample that ours must find in a smoke run: far under what is measured."""
BATCH_ROWS = 4096


def main() -> int:
    """Judge, print, and exit with 1 where a peer failed or, with ``--smoke``, ours finds too little."""
    options = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        files, reference, train = rows.files(options, Path(folder))
    screener = Screener.default(profile=options.profile, model=options.model, cache_bytes=0)
    screener.screen(["warm up"])
    ours, _ = _ours(screener, files)
    total = sum(len(one.texts) for one in files)
    paced = [_thinned(files, BATCH_ROWS)]
    faults: list[str] = []
    found: list[Row] = []
    for peer_id, judge in roster.peers(options, train):
        try:
            verdicts, its_seconds, version = judge(files)
        except PeerFailedError as error:
            faults.append(str(error))
            continue
        for row in judging.compare(files, reference, ours, verdicts, peer_id, version, options.fpr):
            found.append(row)
            _say(row)
        # Ours is timed anew beside each peer, so that both meet the machine as it is then.
        seconds = _ours(screener, paced)[1] * total / len(paced[0].texts)
        _say(_speed(peer_id, version, total, seconds, its_seconds, "row"))
    if options.pii:
        faults += _compare_pii(options)
    elif not options.smoke:
        roster.skip("presidio", "--pii FILE names a file with text and spans_json")
    if options.smoke:
        recall = max((row.ours for row in found if "attacks" in row.unit), default=0.0)
        if recall < SMOKE_FLOOR:
            faults.append(f"ours finds {recall:.2f} of the sample's attacks, the smoke floor is {SMOKE_FLOOR}")
    for problem in faults:
        print(f"FAILED {problem}", file=sys.stderr)
    return 1 if faults or not all(row.same for row in found) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="ours and other open detectors")
    parser.add_argument("files", nargs="*", type=Path, help="labelled Parquet files, or folders of them")
    parser.add_argument("--reference", default="clean_dev", help="file whose benign rows set the thresholds")
    parser.add_argument("--fpr", type=float, default=0.01, help="false-positive rate for peers with scores")
    parser.add_argument("--train", type=Path, help="labelled Parquet file that TF-IDF is trained on")
    parser.add_argument("--terms", help="train only on rows whose column terms equals this")
    parser.add_argument("--model", type=Path, help="a folder `aimds train` wrote, instead of the shipped model")
    parser.add_argument("--profile", default="fast", help="profile of ours")
    parser.add_argument("--pii", type=Path, help="Parquet file with text and spans_json, for Presidio")
    parser.add_argument("--pii-rows", type=int, default=1500, help="texts of it, drawn at random")
    parser.add_argument("--presidio-score", type=float, default=0.0, help="least score of a span; 0 is its default")
    parser.add_argument("--spacy-model", default="", help="spaCy model installed beside Presidio; default: patterns")
    parser.add_argument("--smoke", action="store_true", help="own sample, TF-IDF and signatures only, no network")
    for name, what in (
        ("aidefence", "folder with node_modules/@claude-flow/aidefence"),
        ("llm-guard", "Python that has llm-guard"),
        ("vigil", "Python that has yara-python"),
        ("vigil-rules", "folder of Vigil's .yar files"),
        ("presidio", "Python that has presidio-analyzer"),
    ):
        key = f"AIMDS_PEER_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default=os.environ.get(key, ""), help=f"{what}; or {key}")
    options = parser.parse_args()
    if options.smoke and options.files:
        parser.error("--smoke judges its own sample; give no files")
    return options


def _ours(screener: Screener, files: Sequence[Labelled]) -> tuple[dict[str, Verdict], float]:
    out, seconds = {}, 0.0
    for one in files:
        danger = []
        for first in range(0, len(one.texts), BATCH_ROWS):
            part = slice(first, first + BATCH_ROWS)
            arrays = [pa.array(one.texts[part], pa.large_string()), enum(CHANNELS, one.channel[part])]
            batch = pa.RecordBatch.from_arrays(arrays, ["text", "channel"])
            started = time.perf_counter()
            p_value = screener.screen(batch).table.column("p_value").to_numpy()
            seconds += time.perf_counter() - started
            danger.append(-np.log10(np.where(np.isnan(p_value), 1.0, p_value)))
        out[one.name] = Verdict(np.concatenate(danger), None)
    return out, seconds


def _thinned(files: Sequence[Labelled], most: int) -> Labelled:
    """Up to ``most`` rows, of each file in proportion."""
    step = max(1, sum(len(one.texts) for one in files) // most)
    texts = [text for one in files for text in one.texts[::step]]
    attack, channel = (np.concatenate([getattr(one, name)[::step] for one in files]) for name in ("attack", "channel"))
    return Labelled("paced", texts, attack, channel)


def _compare_pii(options: argparse.Namespace) -> list[str]:
    if not Path(options.presidio or "-").is_file():
        roster.skip("presidio", "--presidio PYTHON or AIMDS_PEER_PRESIDIO names a Python that has it")
        return []
    texts, labels = pii.read(options.pii, options.pii_rows, seed=0)
    pii.ours(texts[:8])
    started = time.perf_counter()
    mine = pii.ours(texts)
    seconds = time.perf_counter() - started
    try:
        asked = ask([options.presidio, str(RUNNERS / "presidio_spans.py"), options.spacy_model], texts)
    except PeerFailedError as error:
        return [str(error)]
    its = pii.theirs(asked.answers, options.presidio_score)
    version = f"{asked.version}, score ≥ {options.presidio_score:g}"
    for row in pii.compare(options.pii.stem, labels, mine, its, "presidio", version):
        _say(row)
    _say(_speed("presidio", version, len(texts), seconds, asked.seconds, "text"))
    return []


def _speed(peer_id: str, version: str, rows: int, ours: float, peer: float, unit: str) -> Row:
    mine, its = rows / ours, rows / max(peer, 1e-9)
    return Row(f"speed.{peer_id}", mine, its, version, mine / its, unit, True, rows, rows, (mine, mine), (its, its))


def _say(row: Row) -> None:
    plain: dict[str, Any] = row.plain()
    print(json.dumps(plain, ensure_ascii=True), flush=True)
    if row.name.startswith("speed."):
        figures = f"{row.ours:>10,.0f}/s {row.peer:>21,.0f}/s"
    else:
        shares = ((row.ours, row.ours_interval), (row.peer, row.peer_interval))
        figures = "  ".join(f"{100 * share:6.2f} ({100 * low:5.1f}–{100 * high:5.1f})" for share, (low, high) in shares)
    print(f"{row.name:<34}{row.n:>6}  {figures}  {row.unit}; {row.peer_name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
