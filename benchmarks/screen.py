"""The screener end to end: throughput, one prompt, long prompts, hostile input: `python -m benchmarks.screen`.

Profile ``fast``, no cache, every text different. The peer of throughput and latency is what a user would write
otherwise: words and 2-grams by TF-IDF, a logistic regression. Of long and of hostile texts it is ours on ordinary ones.
"""

from __future__ import annotations

import base64
import functools
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from aimds import Screener
from aimds.schema import requests
from benchmarks.harness import Case, Maker, Result, main
from benchmarks.scan_traffic import ATTACKS, prompt

MEGABYTE = 1 << 20
PEER = "TF-IDF and logistic regression, scikit-learn"


@functools.cache
def screener() -> Screener:
    return Screener.default(profile="fast", threads=1, cache_bytes=0)


def prompts(rows: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [prompt(rng, row) for row in range(rows)]


def batch(texts: list[str]) -> pa.RecordBatch:
    return requests(pa.table({"text": pa.array(texts, pa.large_string())}).combine_chunks())


@functools.cache
def pipeline() -> Pipeline:
    texts = [*prompts(2000, seed=9), *ATTACKS]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression())
    return model.fit(texts, [0] * 2000 + [1] * len(ATTACKS))


def screen(smoke: bool) -> Iterator[Case]:
    texts = prompts(512 if smoke else 8192)
    asked = batch(texts)
    yield Case(
        "screen",
        "prompt",
        len(texts),
        lambda: screener().screen_batch(asked).column("p_value").to_numpy(zero_copy_only=False),
        lambda: pipeline().predict_proba(texts)[:, 1],
        PEER,
        lambda ours, theirs: len(ours) == len(theirs) and bool(np.isfinite(ours).all() and np.isfinite(theirs).all()),
    )


def screen_one(smoke: bool) -> Iterator[Result]:
    """One prompt of about 60 tokens a call, warm; the rates are 1 / p50 and 1 / p99."""
    texts = prompts(100 if smoke else 1500, seed=2)
    batches = [batch([text]) for text in texts]
    calls: tuple[Callable[[int], Any], Callable[[int], Any]] = (
        lambda k: screener().screen_batch(batches[k]),
        lambda k: pipeline().predict_proba([texts[k]]),
    )
    spent = np.zeros((2, len(texts)))
    for k in range(len(texts)):
        for side, call in enumerate(calls):
            start = time.perf_counter()
            call(k)
            spent[side, k] = time.perf_counter() - start
    for q in (50, 99):
        ours, peer = (1 / np.percentile(spent[:, len(texts) // 10 :], q, axis=1)).tolist()
        yield Result(f"screen_one_p{q}", ours, peer, PEER, ours / peer, "call", True)


def per_byte(text: str, calls: int) -> float:
    asked = batch([text])
    best = float("inf")
    for _ in range(calls + 1):
        start = time.perf_counter()
        screener().screen_batch(asked)
        best = min(best, time.perf_counter() - start)
    return best / len(text.encode())


def screen_tokens(smoke: bool) -> Iterator[Result]:
    """Bytes a second of prompts of 1 to 100,000 tokens, at least 40,000 tokens a batch: the same if cost is linear."""
    words = " ".join(prompts(200 if smoke else 3000, seed=3)).split()
    rates = {}
    for tokens in (1, 10, 100, 1000, *(() if smoke else (10_000, 100_000))):
        rows = max(1, (4_000 if smoke else 40_000) // tokens)
        texts = [" ".join(words[(row * tokens + k) % len(words)] for k in range(tokens)) for row in range(rows)]
        asked = batch(texts)
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            screener().screen_batch(asked)
            best = min(best, time.perf_counter() - start)
        rates[tokens] = sum(len(text.encode()) for text in texts) / best / 1e6
    for tokens, rate in rates.items():
        yield Result(
            f"screen_tokens_{tokens}", rate, rates[1000], "ours at 1,000 tokens", rate / rates[1000], "MB", True
        )


def hostile(size: int) -> dict[str, str]:
    noise = random.Random(4).randbytes(size)
    ordinary = " ".join(prompts(size // 200, seed=5))
    return {
        "letter": "a" * size,
        "digit": "0" * size,
        "space": " " * size,
        "less_than": "<" * size,
        "at": "@" * size,
        "at_letters": "a@" * (size // 2),
        "hyphens": "1-" * (size // 2),
        "brackets": "[[" * (size // 2),
        "entities": "&#" * (size // 2),
        "escapes": "\\u0041" * (size // 6),
        "percent": "%41" * (size // 3),
        "base64_noise": base64.b64encode(noise[: size * 3 // 4]).decode(),
        "base64_text": base64.b64encode(ordinary[: size * 3 // 4].encode()).decode(),
        "hex_noise": noise[: size // 2].hex(),
        "morse": ".- " * (size // 3),
        "emoji": "\U0001f600" * (size // 4),
        "combining_marks": "e" + "\u0301" * (size // 2),
        "zero_width": "\u200b" * (size // 3),
        "han": "\u4e2d" * (size // 3),
    }


def screen_worst(smoke: bool) -> Iterator[Result]:
    """1 MB of one thing beside 1 MB of ordinary prompts: a ratio under 0.2 is slower than the 5 times allowed."""
    size = MEGABYTE // 8 if smoke else MEGABYTE
    ordinary = 1 / per_byte(" ".join(prompts(size // 200, seed=5))[:size], 2) / 1e6
    for name, text in hostile(size).items():
        rate = 1 / per_byte(text, 1) / 1e6
        yield Result(f"screen_worst_{name}", rate, ordinary, "ours on ordinary text", rate / ordinary, "MB", True)


CASES: dict[str, Maker] = {
    "screen": screen,
    "screen_one": screen_one,
    "screen_tokens": screen_tokens,
    "screen_worst": screen_worst,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
