"""The peers that are set up, each as one call; one that is not is skipped, with a line on stderr that says how."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers import signatures, tfidf
from benchmarks.peers.judging import Labelled, Verdict
from benchmarks.peers.worker import RUNNERS, ask

Judge = Callable[[Sequence[Labelled]], tuple[dict[str, Verdict], float, str]]


def peers(options: argparse.Namespace, train: Labelled | None) -> Iterator[tuple[str, Judge]]:
    """Id of each peer that is set up, and what judges files: verdicts by file, seconds, and what judged."""
    if train is None:
        skip("tfidf", "--train FILE names a labelled Parquet file")
    else:
        yield "tfidf", lambda files: _tfidf(train, files)
    yield "signatures", _signatures
    if options.smoke:
        return
    node = ["node", str(RUNNERS / "aidefence.mjs"), options.aidefence]
    if options.aidefence and (Path(options.aidefence) / "node_modules" / "@claude-flow" / "aidefence").is_dir():
        yield "aidefence", lambda files: _process(node, files)
    else:
        skip("aidefence", "--aidefence DIR or AIMDS_PEER_AIDEFENCE names a folder it is installed in")
    guard = [options.llm_guard, str(RUNNERS / "llm_guard_scanners.py")]
    if Path(options.llm_guard or "-").is_file():
        yield "llm_guard", lambda files: _process(guard, files)
    else:
        skip("llm_guard", "--llm-guard PYTHON or AIMDS_PEER_LLM_GUARD names a Python that has it")
    rules = [options.vigil, str(RUNNERS / "vigil_rules.py"), options.vigil_rules]
    if Path(options.vigil or "-").is_file() and Path(options.vigil_rules or "-").is_dir():
        yield "vigil", lambda files: _process(rules, files)
    else:
        skip("vigil", "--vigil PYTHON and --vigil-rules DIR name a Python with yara-python and Vigil's rules")


def skip(peer_id: str, how: str) -> None:
    """Say that a peer is left out, and ``how`` to have it."""
    print(f"SKIPPED {peer_id}: not set up; {how}, see benchmarks/peers/README.md", file=sys.stderr)


def _tfidf(train: Labelled, files: Sequence[Labelled]) -> tuple[dict[str, Verdict], float, str]:
    model = tfidf.train(train.texts, train.attack)
    out, seconds = {}, 0.0
    for one in files:
        score, spent = tfidf.judge(model, one.texts)
        out[one.name], seconds = Verdict(score, None), seconds + spent
    return out, seconds, tfidf.VERSION


def _signatures(files: Sequence[Labelled]) -> tuple[dict[str, Verdict], float, str]:
    out, seconds = {}, 0.0
    for one in files:
        flagged, spent = signatures.judge(one.texts)
        out[one.name], seconds = Verdict(None, np.array(flagged, np.bool_)), seconds + spent
    return out, seconds, signatures.VERSION


def _process(command: Sequence[str], files: Sequence[Labelled]) -> tuple[dict[str, Verdict], float, str]:
    # One process for all files: some peers take long to start.
    asked = ask(command, [text for one in files for text in one.texts])
    out, first = {}, 0
    for one in files:
        mine = asked.answers[first : first + len(one.texts)]
        first += len(one.texts)
        score = np.array([answer["score"] for answer in mine], np.float64) if "score" in mine[0] else None
        out[one.name] = Verdict(score, np.array([answer["flagged"] for answer in mine], np.bool_))
    return out, asked.seconds, asked.version
