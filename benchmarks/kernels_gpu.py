"""Each kernel on a GPU beside its CPU twin, results compared: `python -m benchmarks.kernels_gpu [--smoke] [NAME…]`.

Arrays lie on the GPU before the clock starts; the time is that of the device between two events, the best of several
rounds. The twin runs on all cores, on the first rows of the same batch, and its rate is that of those. The case
``encoder`` is the whole deep stage, texts in and margins out, beside onnxruntime on the CPU; its weights are random.
One JSON line a case. Without a GPU it says why and fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimds import kernels
from aimds.detect import deep
from aimds.detect.classifier import Classifier
from aimds.detect.concepts.lexicon import LEAST_PERCENT, MAIN
from aimds.jobs.deep import graph
from aimds.kernels import placement
from aimds.kernels.cuda import problem
from aimds.kernels.spec import SPECS

ROUNDS = 7
ENCODER = "encoder"
LAYERS, WIDTH, HEADS, HIDDEN = 6, 384, 12, 1536
TOKENS = 60
PARITY = 1e-3
"""How far margins of the encoder may be apart."""


@dataclass(frozen=True, slots=True)
class Case:
    """``arguments`` of kernel ``name``; a batch does ``work`` of ``unit``. ``part`` cuts the first rows out of it, as a
    fraction ``share`` of the work, for the CPU."""

    name: str
    arguments: tuple[Any, ...]
    work: float
    unit: str
    part: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    share: float


def offsets(rows: int, size: int) -> Any:
    return np.arange(rows + 1, dtype=np.int64) * size


def ragged_part(rows: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The first ``rows`` rows of a batch that begins with values and offsets."""
    return lambda given: (given[0], given[1][: rows + 1].copy(), *given[2:])


def cases(scale: float) -> Iterator[Case]:
    rng = np.random.default_rng(0)

    def size(count: int) -> int:
        return max(32, int(count * scale))

    few = 32
    rows, patterns = size(20_000), 1024
    values = rng.normal(size=rows * 64).astype(np.float32), offsets(rows, 64)
    given = (*values, rng.normal(size=(patterns, 32)).astype(np.float32))
    yield Case("dtw", given, rows * 64.0 * patterns * 32, "cells", ragged_part(few), few / rows)
    rows = size(100_000)
    tokens = rng.integers(0, 4096, rows * 60).astype(np.int32), offsets(rows, 60)
    cost = rng.integers(0, 256, (4096, 12, 512)).astype(np.uint8)
    yield Case("subsequence_dtw", (*tokens, cost), rows, "prompts", ragged_part(few), few / rows)
    rows = size(20_000)
    known = rng.integers(0, 5000, 1000 * 48).astype(np.int32), offsets(1000, 48)
    tokens = rng.integers(0, 5000, rows * 60).astype(np.int32), offsets(rows, 60)
    for name in ("lcs", "levenshtein"):
        yield Case(name, (*tokens, *known), rows * 60.0 * 1000 * 48, "cells", ragged_part(few), few / rows)
    rows = size(200_000)
    letters = np.frombuffer(b"etaoin shrdlu cmfwyp ", np.uint8)
    text = letters[rng.integers(0, len(letters), rows * 400)], offsets(rows, 400)
    yield Case("ngram_hash", text, rows * 400.0, "bytes", ragged_part(few), few / rows)
    vocabulary = kernels.build_vocabulary([b"the", b"one", b"hat"])
    yield Case("tokenize", (*text, *vocabulary), rows * 400.0, "bytes", ragged_part(few), few / rows)
    yield Case("word_spans", text, rows * 400.0, "bytes", ragged_part(few), few / rows)
    heads = Classifier.load().concepts
    assert heads is not None, "the model that ships has heads over concepts"
    lexicon = heads.lexicon
    chosen = len(lexicon.languages), lexicon.languages.index(MAIN), LEAST_PERCENT, len(lexicon.concepts)
    spans = kernels.word_spans(*text)

    def with_words(given: tuple[Any, ...]) -> tuple[Any, ...]:
        return given[0], given[1][: few + 1].copy(), given[2][: few + 1].copy(), *given[3:]

    yield Case("concepts", (*text, *spans, *lexicon.stems, *chosen), rows * 400.0, "bytes", with_words, few / rows)
    said = rng.integers(0, 239, rows * 24).astype(np.uint8), offsets(rows, 24), 8
    yield Case("concept_pairs", said, rows * 24.0, "concepts", ragged_part(few), few / rows)
    queries, bank = (rng.normal(size=(count, 256)).astype(np.float32) for count in (4096, 10_000))
    yield Case("topk", (queries, bank, 10), 4096, "queries", lambda given: (given[0][:few], *given[1:]), few / 4096)


def measure(case: Case) -> dict[str, Any]:
    """Rates of both sides, and whether the first rows agree within the spec's tolerance."""
    import cupy

    function = getattr(kernels, case.name)
    there = [cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in case.arguments]
    function(*there)
    best = float("inf")
    for _ in range(ROUNDS):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        function(*there)
        stop.record()
        stop.synchronize()
        best = min(best, cupy.cuda.get_elapsed_time(start, stop) / 1e3)
    part = case.part(case.arguments)
    function(*part)
    begun = time.perf_counter()
    expected = function(*part, threads=os.cpu_count() or 1)
    spent = time.perf_counter() - begun
    found = function(*(cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in part))
    ours, peer = case.work / best, case.work * case.share / spent
    return {
        "name": case.name,
        "ours": ours,
        "peer": peer,
        "peer_name": f"CPU, {os.cpu_count()} threads",
        "ratio": ours / peer,
        "unit": case.unit,
        "same": agree(case.name, found, expected),
    }


def encoder() -> deep.Deep:
    """An encoder of the sizes that are trained, its weights random, its words w0, w1, …"""
    rng = np.random.default_rng(0)
    pieces = [deep.CLS, deep.SEP, deep.UNKNOWN, *(f"\u2581w{k}" for k in range(2000))]

    def draw(*shape: int) -> Any:
        return rng.normal(0, 0.05, shape).astype(np.float32)

    weights = {"word": draw(len(pieces), WIDTH), "position": draw(deep.MAX_TOKENS, WIDTH), "channel": draw(2, WIDTH)}
    norms, dense = ["norm"], {"head": (WIDTH, len(deep.CLASSES))}
    for at in (f"layer.{layer}" for layer in range(LAYERS)):
        norms += [f"{at}.norm1", f"{at}.norm2"]
        dense |= {f"{at}.qkv": (WIDTH, 3 * WIDTH), f"{at}.out": (WIDTH, WIDTH)}
        dense |= {f"{at}.up": (WIDTH, HIDDEN), f"{at}.down": (HIDDEN, WIDTH)}
    weights |= {f"{name}.weight": 1 + draw(WIDTH) for name in norms} | {f"{name}.bias": draw(WIDTH) for name in norms}
    weights |= {f"{name}.weight": draw(*shape) for name, shape in dense.items()}
    weights |= {f"{name}.bias": draw(shape[1]) for name, shape in dense.items()}
    shapes = {name: array.shape for name, array in weights.items()}
    skeleton = graph.build(shapes, layers=LAYERS, heads=HEADS, classes=len(deep.CLASSES))
    tokenizer = deep.Tokenizer("\n".join(pieces).encode(), np.full(len(pieces), -8.0, np.float32))
    card = {"layers": LAYERS, "heads": HEADS}
    return deep.Deep(deep.quantised(weights), skeleton, tokenizer, card, "random")


def measure_encoder(windows: int, few: int, place: placement.Place) -> dict[str, Any]:
    """Windows a second of ``place`` and of onnxruntime, which is given the first ``few``, and whether these agree."""
    judge, rng, threads = encoder(), np.random.default_rng(1), os.cpu_count() or 1
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 2000, TOKENS - 2)).encode() for _ in range(windows)]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    batch = np.frombuffer(b"".join(texts), np.uint8), ends, np.zeros(windows, np.bool_)
    part = batch[0], ends[: few + 1], batch[2][:few]

    def seconds(given: tuple[Any, ...], rounds: int, **options: Any) -> float:
        best = float("inf")
        for _ in range(rounds):
            begun = time.perf_counter()
            judge.score(*given, **options)
            best = min(best, time.perf_counter() - begun)
        return best

    found, expected = judge.score(*part, place=place), judge.score(*part, threads=threads)
    ours = windows / seconds(batch, ROUNDS, place=place)
    peer = few / seconds(part, 1, threads=threads)
    return {
        "name": ENCODER,
        "ours": ours,
        "peer": peer,
        "peer_name": f"onnxruntime, CPU, {threads} threads",
        "ratio": ours / peer,
        "unit": f"windows of {TOKENS} word pieces",
        "same": bool(np.allclose(found, expected, rtol=0, atol=PARITY)),
    }


def device_name() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())


def agree(name: str, found: Any, expected: Any) -> bool:
    tolerance = SPECS[name].tolerance
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    return all(np.allclose(a.get(), b, rtol=tolerance, atol=tolerance) for a, b in pairs)


def results(scale: float, names: list[str]) -> Iterator[dict[str, Any]]:
    """What each of ``names`` measures, of all where there are none."""
    for case in cases(scale):
        if not names or case.name in names:
            yield measure(case)
    if not names or ENCODER in names:
        yield measure_encoder(max(32, int(20_000 * scale)), 32, placement.place("cuda"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small batches: does it work, are the results right")
    parser.add_argument("--json", help="append the lines to this file too")
    parser.add_argument("names", nargs="*", help="kernels, or encoder; all by default")
    options = parser.parse_args()
    if problem():
        sys.exit(f"no GPU here: {problem()}")
    wrong = []
    for result in results(0.01 if options.smoke else 1.0, options.names):
        line = json.dumps(result | {"device": device_name()})
        print(line, flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        if not result["same"]:
            wrong.append(result["name"])
    if wrong:
        sys.exit(f"results differ from the CPU's: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
