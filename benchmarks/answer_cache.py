"""How often a near hit of the answer cache is a false one: `python -m benchmarks.answer_cache FOLDER [--rows N]`.

FOLDER holds train.parquet and devset/clean_dev.parquet (columns text, label, source). For each source, up to N
different ordinary prompts that are short enough for near hits are held against each other: any two of them were written
as two prompts, so every near hit among them is counted as false. That is an upper bound: some ask the same in other
words. "other_words" leaves out pairs that differ in words of politeness and articles only. Then 600 of them are worded
anew in five harmless ways, and what is found again is counted. One JSON line a source, a share for each threshold; the
first sources chose the threshold, the last ones judge it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aimds import kernels
from aimds.detect.embedding import Embedding
from aimds.kernels.words import FOLD
from aimds.route.cache import CANDIDATES
from aimds.route.tiers import CacheConfig
from aimds.route.wording import signature

THRESHOLDS = (0.8, 0.85, 0.875, 0.9, 0.925, 0.95)
CHOSEN_ON = (
    *("clinc/oos-eval", "xliuhw/NLU-Evaluation-Data", "google-research-datasets/Taskmaster"),
    *("yizhongw/self-instruct (T0/P3 prompts)", "PlexPt/awesome-chatgpt-prompts-zh", "songys/Chatbot_data"),
    "RUCAIBox/HaluEval",
)
JUDGED_ON = ("sonos/nlu-benchmark (SNIPS)", "suzgunmirac/BIG-Bench-Hard", "cyberark/FuzzyAI")
_EMPTY = (
    "please can could would will you i we want to need like a an the for hello hi hey thanks thank of my me is now so"
)
EMPTY = frozenset(word.encode() for word in _EMPTY.split())
REWRITES: dict[str, Callable[[str], str]] = {
    "please": lambda text: f"please {text}",
    "upper case": str.upper,
    "punctuation": lambda text: text.rstrip(".?! ") + " ??",
    "thanks": lambda text: f"{text} thanks",
    "can you tell me": lambda text: f"can you tell me {text}",
}
AGAIN = 600


def prompts(folder: Path, source: str, rows: int) -> list[str]:
    """Up to ``rows`` different ordinary prompts of ``source``, short enough for near hits, in one random order."""
    most, found = CacheConfig().near_bytes, set()
    for name in ("train.parquet", "devset/clean_dev.parquet"):
        table = pq.read_table(folder / name, columns=["text", "label", "source"])
        for text, label, one in zip(*(table.column(k).to_pylist() for k in range(3)), strict=True):
            if one == source and not label and text and 12 <= len(text.encode()) <= most:
                found.add(" ".join(text.split()))
    ordered = sorted(found)
    np.random.default_rng(0).shuffle(ordered)
    return ordered[:rows]


def core(text: str) -> tuple[bytes, ...]:
    """The folded words of ``text`` but those of EMPTY."""
    return tuple(word for word in text.encode().translate(FOLD.tobytes()).split() if word not in EMPTY)


def measured(texts: list[str], embed: Embedding) -> dict[str, Any]:
    """Shares of ``texts`` at each of THRESHOLDS: near hits by likeness alone, those that the wording lets pass, those
    of them with other words; and of rewrites, those that are found."""
    vectors = embed(pa.array(texts, pa.large_string()))
    signs, cores = [signature(text.encode()) for text in texts], [core(text) for text in texts]
    scores, ids = kernels.topk(vectors, vectors, min(CANDIDATES + 1, len(texts)))
    alike, passed, other = (np.full(len(texts), -1.0) for _ in range(3))
    for row, (score, near) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True)):
        pairs = [(likeness, at) for likeness, at in zip(score, near, strict=True) if at != row]
        alike[row] = pairs[0][0] if pairs else -1.0
        hit = next(((likeness, at) for likeness, at in pairs if signs[at] == signs[row]), None)
        if hit is not None:
            passed[row] = hit[0]
            other[row] = hit[0] if cores[hit[1]] != cores[row] else -1.0
    found = {}
    some = texts[:AGAIN]
    for name, rewrite in REWRITES.items():
        again = [rewrite(text) for text in some]
        likeness = (embed(pa.array(again, pa.large_string())) * vectors[: len(some)]).sum(1)
        kept = np.array([signature(text.encode()) == sign for text, sign in zip(again, signs, strict=False)])
        found[name] = _shares(np.where(kept, likeness, -1.0))
    return {"alike": _shares(alike), "near": _shares(passed), "other_words": _shares(other), "found_again": found}


def _shares(values: Any) -> list[float]:
    return [round(float((values >= threshold).mean()), 4) for threshold in THRESHOLDS]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="false near hits of the answer cache, by threshold")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=3000, help="prompts of each source (default 3000)")
    options = parser.parse_args()
    embed = Embedding.load()
    print(json.dumps({"thresholds": THRESHOLDS, "near_bytes": CacheConfig().near_bytes, "dim": embed.dim}))
    for role, sources in (("chosen on", CHOSEN_ON), ("judged on", JUDGED_ON)):
        for source in sources:
            texts = prompts(options.folder, source, options.rows)
            line = {"source": source, "role": role, "prompts": len(texts), **measured(texts, embed)}
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
