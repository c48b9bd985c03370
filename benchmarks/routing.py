"""Routing: `python -m benchmarks.routing [--smoke] [NAME…]`.

Choices of a batch beside a plain router that does the same row by row; a lookup in the cache of answers beside a scan
of all its vectors with numpy. `python -m benchmarks.answer_cache FOLDER` measures how often a near hit is a false one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.detect.embedding import Embedding
from aimds.kernels.words import FOLD
from aimds.route import complexity as hardness
from aimds.route.cache import EXACT, MISS, NEAR, AnswerCache
from aimds.route.choices import CHOICES
from aimds.route.router import NEEDED, Router
from aimds.route.tiers import CacheConfig, Tiers
from aimds.route.wording import signature
from aimds.schema import VERDICTS
from benchmarks.harness import Case, main

_WORDS = (
    "the a of to in is what how why explain compare prove please can you write me list price train hotel river bread "
    "function return value step 3 17 2024 large small red blue = { } ? \n"
)
WORDS = _WORDS.split(" ")
ACTIONS = ("allow",) * 17 + ("flag", "block", "redact")


def traffic(n: int, seed: int = 0) -> pa.Table:
    """Verdicts with texts, by chance: a twentieth with personal data, some flagged, redacted or blocked."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=size)) for size in rng.geometric(0.02, n).tolist()]
    actions = rng.choice(ACTIONS, n).tolist()
    columns: dict[str, Any] = {
        "request_id": [str(i) for i in range(n)],
        "tenant": [f"t{k}" for k in rng.integers(0, 20, n).tolist()],
        "channel": ["user"] * n,
        "action": actions,
        "session_action": ["none"] * n,
        "status": np.where(rng.random(n) < 0.01, "partial", "ok").tolist(),
        "spans": [[{"start": 0, "end": 3, "kind": "EMAIL"}] if hit else [] for hit in (rng.random(n) < 0.05).tolist()],
        "session_id": [None] * n,
        "turn": [None] * n,
        "mitigated_text": [text if action == "redact" else None for text, action in zip(texts, actions, strict=True)],
    }
    table = {name: pa.array(values, VERDICTS.field(name).type) for name, values in columns.items()}
    assert set(NEEDED) <= set(table)
    return pa.table({**table, "text": pa.array(texts, pa.large_string())})


def score_of(raw: bytes) -> tuple[float, int]:
    """Complexity and tokens of one text, in plain Python."""
    wide = sum(byte > 127 for byte in raw)
    tokens = int(np.ceil((len(raw) - wide) / hardness.ASCII_BYTES + wide / hardness.WIDE_BYTES)) + hardness.FRAME_TOKENS
    asks = sum(word in ASKED for word in raw.translate(TABLE).split())
    length = np.log1p(tokens / hardness.FEW_TOKENS) / np.log1p(hardness.FULL_TOKENS / hardness.FEW_TOKENS)
    structure = raw.count(b"\n") + 2 * max(raw.count(b"?") - 1, 0)
    counted = (asks, sum(raw.count(c) for c in CODE), sum(raw.count(c) for c in DIGITS), structure)
    full = (hardness.FULL_ASKS, hardness.FULL_CODE, hardness.FULL_FIGURES, hardness.FULL_PLACES)
    parts = [length, *(count / whole for count, whole in zip(counted, full, strict=True))]
    rest = 1.0
    for weight, part in zip(hardness.WEIGHTS.tolist(), parts, strict=True):
        rest *= 1 - weight * min(part, 1.0)
    return 1 - rest, tokens


ASKED = frozenset(word.encode() for word in hardness.ASKS)
TABLE = FOLD.tobytes()
CODE = [bytes([byte]) for byte in b"{}[]<>=;\\|_`"]
DIGITS = [bytes([byte]) for byte in b"0123456789"]


def plain(rows: list[dict[str, Any]], tiers: Tiers) -> list[tuple[str | None, float]]:
    """Tier and cost of each row as a router decides that sees one request at a time."""
    spent: dict[str, float] = {}
    out: list[tuple[str | None, float]] = []
    for row in rows:
        if row["status"] == "error" or row["action"] not in ("allow", "flag", "redact", "sandwich"):
            out.append((None, 0.0))
            continue
        text = row["mitigated_text"] if row["action"] in ("redact", "sandwich") else row["text"]
        private = bool(row["spans"]) or row["status"] != "ok"
        score, tokens = score_of(text.encode())
        best: list[Any] = []
        for place, tier in enumerate(tiers.tiers):
            if (private and not tier.local) or tokens + tiers.output_tokens > tier.context:
                continue
            cost = (tokens * tier.input_price + tiers.output_tokens * tier.output_price) / 1e6
            able = np.float32(tier.capability) >= np.float32(score)
            best.append((not able, 0.0 if able else -tier.capability, cost, place, tier.name))
        left = tiers.budgets.of(row["tenant"]) - spent.get(row["tenant"], 0.0)
        found = next((one for one in sorted(best) if one[2] <= left), None)
        if found is not None:
            spent[row["tenant"]] = spent.get(row["tenant"], 0.0) + found[2]
        out.append((None, 0.0) if found is None else (found[4], found[2]))
    return out


def route(smoke: bool) -> Iterator[Case]:
    """A batch of verdicts with their texts, to choices."""
    n = 1000 if smoke else 20_000
    table, tiers = traffic(n), Tiers.load()
    rows = table.to_pylist()

    def ours() -> pa.RecordBatch:
        return Router(tiers).route(table, now=0.0)

    def same(choices: pa.RecordBatch, peer: list[tuple[str | None, float]]) -> bool:
        assert choices.schema.equals(CHOICES)
        costs = np.array([cost for _, cost in peer])
        named = choices.column("tier").to_pylist() == [tier for tier, _ in peer]
        return named and bool(np.allclose(choices.column("cost"), costs, rtol=1e-12, atol=0))

    name = "plain Python, row by row"
    yield Case("route", "row", n, ours, lambda: plain(rows, tiers), name, same, 3.0)


def lookup(smoke: bool) -> Iterator[Case]:
    """Prompts that are in the cache, are nearly in it, or are not, beside a scan of every vector for each one."""
    entries, asked = (500, 64) if smoke else (10_000, 256)
    rng = np.random.default_rng(1)
    known = ["ask " + " ".join(rng.choice(WORDS[:-6], 12)) + f" about {word_of(i)}" for i in range(entries)]
    kinds = (lambda i: known[i], lambda i: f"{known[i]} thanks", lambda i: f"new {word_of(7 * i)}")
    queries = [kinds[i % 3](i) for i in range(asked)]
    embed, config = Embedding.load(), CacheConfig(ttl_s=1e9)
    cache = AnswerCache(embed, config, bytes(32))
    bank_texts = pa.array(known, pa.large_string())
    answers = [str(i).encode() for i in range(entries)]
    cache.put(["t"] * entries, bank_texts, answers, np.ones(entries, np.bool_), now=0.0)
    texts, allowed = pa.array(queries, pa.large_string()), np.ones(asked, np.bool_)
    bank, places = embed(bank_texts), {text: i for i, text in enumerate(known)}
    signs = [signature(text.encode()) for text in known]

    def ours() -> Any:
        return cache.lookup(["t"] * asked, texts, allowed, now=1.0)

    def peer() -> list[tuple[int, bytes | None]]:
        out: list[tuple[int, bytes | None]] = []
        vectors = iter(embed(pa.array([text for text in queries if text not in places], pa.large_string())))
        for text in queries:
            if text in places:
                out.append((EXACT, answers[places[text]]))
                continue
            scores, sign = bank @ next(vectors), signature(text.encode())
            ranked = np.argsort(-scores, kind="stable")[:8].tolist()
            at = next((i for i in ranked if scores[i] >= config.threshold and signs[i] == sign), None)
            out.append((MISS, None) if at is None else (NEAR, answers[at]))
        return out

    def same(hits: Any, found: list[tuple[int, bytes | None]]) -> bool:
        return list(zip(hits.kind.tolist(), hits.answers, strict=True)) == found

    name = "numpy, all vectors for each prompt"
    yield Case("cache_lookup", "prompt", asked, ours, peer, name, same, 1.0)


def word_of(number: int) -> str:
    """A word of letters only for a number: figures would decide."""
    return "".join(chr(97 + (number // 26**k) % 26) for k in range(4))


def tokens(smoke: bool) -> Iterator[Case]:
    """Complexity alone, beside the same sums for each text in plain Python."""
    n = 1000 if smoke else 20_000
    texts = traffic(n, 2).column("text").combine_chunks()
    raw = [text.encode() for text in texts.to_pylist()]

    def same(made: Any, peer: list[tuple[float, int]]) -> bool:
        scores, counted = zip(*peer, strict=True)
        return bool(np.allclose(made.score, scores, atol=1e-6)) and made.tokens.tolist() == list(counted)

    def ours() -> Any:
        return hardness.complexity(texts)

    yield Case("complexity", "row", n, ours, lambda: [score_of(text) for text in raw], "plain Python", same, 3.0)


MAKERS = {"route": route, "complexity": tokens, "cache_lookup": lookup}

if __name__ == "__main__":
    sys.exit(main(MAKERS))
