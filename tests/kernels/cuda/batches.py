"""A batch for every kernel: the arguments of its public function, rows of given sizes."""

from __future__ import annotations

from typing import Any

import concept_cases as cases
import ltl_cases as ltl
import naive
import numpy as np

from aimds import kernels

WORDS = (b"ignore", b"all", b"previous", b"the", b"cat", b"sat", b"on", b"a", b"mat", b"DAN", b"0x7f", "naïve".encode())
SIZES = {"small": (3, 0, 5, 1), "one large": (9000,), "few big": (700, 0, 512, 1025), "many small": (4, 7, 0) * 200}


def batches(sizes: tuple[int, ...] = SIZES["small"], seed: int = 0) -> dict[str, tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    text = naive.ragged([b" ".join(WORDS[k] for k in rng.integers(0, len(WORDS), size)) for size in sizes], np.uint8)
    grams = kernels.ngram_hash(*text, bits=12)
    idf = rng.uniform(1, 5, 1 << 12).astype(np.float32)
    weights, head = rng.integers(-127, 128, (1 << 12, 3)).astype(np.int8), np.ones(3, np.float32)
    known = kernels.ngram_hash(*naive.ragged([b"ignore all", b"the cat sat", b"a mat"], np.uint8), bits=12)
    bank = (*kernels.build_postings(*known[:2], known[2] / 5), np.array([0, 1, 1], np.int32), 2)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    tokens = naive.ragged([rng.integers(0, 9, size).tolist() for size in sizes], np.int32)
    values = naive.ragged([rng.integers(-3, 4, size).tolist() for size in sizes], np.float32)
    cost = rng.integers(0, 256, (9, 12, 38)).astype(np.uint8)
    turned = np.ascontiguousarray(cost.transpose(0, 2, 1))
    lengths = rng.integers(1, 13, 38).astype(np.int32)
    pairs = 50 if sizes else 0
    chosen = rng.integers(0, max(len(sizes), 1), pairs).astype(np.int32), rng.integers(0, 38, pairs).astype(np.int32)
    width, count = 24, len(tokens[0])
    states, product = rng.normal(size=(2, count, width)).astype(np.float32)
    gain, shift = rng.normal(1, 0.2, (2, width)).astype(np.float32)
    kinds = rng.integers(0, 2, len(sizes)).astype(np.int32)
    tables = [rng.normal(size=(rows, width)).astype(np.float32) for rows in (9, max(sizes, default=0), 2)]
    mixed = naive.ragged(["".join(rng.choice(cases.PIECES, size)).encode() for size in sizes], np.uint8)
    others = naive.ragged([rng.integers(0, 9, size).tolist() for size in (0, 5, 40, 70, 300)], np.int32)
    return {
        "ngram_hash": text,
        "linear": (*grams, weights, head, idf, head),
        "sketch": (*grams, idf),
        "nearest": (*grams, idf, *bank),
        "topk": (vectors[: len(sizes)], vectors, 3),
        "tokenize": (*text, *kernels.build_vocabulary([b"cat", b"all"])),
        "word_spans": mixed,
        "concepts": cases.concepts(*mixed),
        "concept_pairs": (tokens[0].astype(np.uint8), tokens[1], 8),
        "subsequence_dtw": (*tokens, cost),
        "subsequence_dtw_pairs": (*tokens, turned, lengths, *chosen),
        "dtw": (*values, rng.integers(-3, 4, (6, 20)).astype(np.float32)),
        "lcs": (*tokens, *others),
        "levenshtein": (*tokens, *others),
        "session_series": naive.ragged([rng.normal(-5, 2, size).tolist() for size in sizes], np.float64),
        "attractor": naive.ragged([rng.normal(size=size).tolist() for size in sizes], np.float64),
        "ltl_batch": (*ltl.traces(sizes, rng), *ltl.program()),
        "ltl_step": ltl.steps(sizes, rng),
        "embed": (*tokens, kinds, *tables, gain, shift),
        "add_norm": (states, product, shift, gain, shift),
        "attention": (rng.normal(size=(count, 3 * width)).astype(np.float32), gain.repeat(3), tokens[1], 2),
        "bias_gelu": (product, shift),
        "pooled_logits": (states, tokens[1], rng.normal(size=(width, 3)).astype(np.float32), head),
    }
