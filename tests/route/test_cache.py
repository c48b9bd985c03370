from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.detect.embedding import Embedding
from aimds.errors import ConfigError
from aimds.route.cache import BARRED, EXACT, MISS, NEAR, AnswerCache, Hits
from aimds.route.tiers import CacheConfig

SALT = bytes(range(32))
QUESTION = "What is the boiling point of water on a high mountain?"
ALMOST = "please what is the boiling point of water on a high mountain"


def letters(texts: pa.Array) -> Any:
    """Unit vectors of letter counts: a stand-in for the embedding."""
    out = np.zeros((len(texts), 256), np.float32)
    for row, text in enumerate(texts.to_pylist()):
        out[row] = np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256)
        out[row] /= max(float(np.linalg.norm(out[row])), 1.0)
    return out


def cache(embed: Any = letters, **changed: Any) -> AnswerCache:
    return AnswerCache(embed, CacheConfig(**changed), SALT)


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.large_string())


def ask(held: AnswerCache, tenant: str | None, *texts: str, now: float = 0.0, scope: str = "") -> Hits:
    return held.lookup([tenant] * len(texts), column(*texts), np.ones(len(texts), np.bool_), now=now, scope=scope)


def keep(held: AnswerCache, tenant: str | None, *texts: str, now: float = 0.0, scope: str = "") -> int:
    answers = [f"answer to {text}".encode() for text in texts]
    allowed = np.ones(len(texts), np.bool_)
    return held.put([tenant] * len(texts), column(*texts), answers, allowed, now=now, scope=scope)


def test_same_and_almost_same_prompts_are_told_apart_and_others_are_missed() -> None:
    held = AnswerCache(Embedding.load(), CacheConfig(), SALT)
    keep(held, "acme", QUESTION)
    hits = ask(held, "acme", QUESTION, ALMOST, "How do I bake bread at home?")
    assert hits.kind.tolist() == [EXACT, NEAR, MISS]
    assert hits.answers == (f"answer to {QUESTION}".encode(), f"answer to {QUESTION}".encode(), None)
    assert hits.similarity[0] == 1
    assert 0.9 <= hits.similarity[1] < 1
    assert (held.stats.exact, held.stats.near, held.stats.misses) == (1, 1, 1)


def test_alike_prompts_with_other_figures_are_missed() -> None:
    held = AnswerCache(Embedding.load(), CacheConfig(threshold=0.5), SALT)
    keep(held, "acme", "Please book me a table for three at the old harbour restaurant")
    hits = ask(held, "acme", "Please book me a table for seven at the old harbour restaurant")
    assert hits.kind.tolist() == [MISS]


def test_no_tenant_is_served_what_another_asked() -> None:
    held = cache()
    keep(held, "acme", QUESTION)
    for other in ("umbrella", None, "", "acme "):
        assert ask(held, other, QUESTION, ALMOST).kind.tolist() == [MISS, MISS]
    keep(held, None, QUESTION)
    assert ask(held, "", QUESTION).kind.tolist() == [MISS]


def test_another_scope_is_another_shelf() -> None:
    held = cache()
    keep(held, "acme", QUESTION, scope="system prompt 1")
    assert ask(held, "acme", QUESTION, scope="system prompt 2").kind.tolist() == [MISS]
    assert ask(held, "acme", QUESTION, scope="system prompt 1").kind.tolist() == [EXACT]


def test_barred_rows_are_neither_kept_nor_served() -> None:
    held = cache()
    barred = np.zeros(1, np.bool_)
    assert held.put(["acme"], column(QUESTION), [b"answer"], barred, now=0.0) == 0
    keep(held, "acme", QUESTION)
    hits = held.lookup(["acme"], column(QUESTION), barred, now=0.0)
    assert (hits.kind.tolist(), hits.answers) == ([BARRED], (None,))


def test_answers_live_as_long_as_the_file_says() -> None:
    held = cache(ttl_s=10.0)
    keep(held, "acme", QUESTION, now=0.0)
    assert ask(held, "acme", QUESTION, now=9.9).kind.tolist() == [EXACT]
    assert ask(held, "acme", QUESTION, ALMOST, now=10.0).kind.tolist() == [MISS, MISS]
    assert len(held) == 0
    assert held.stats.expired == 1


def test_least_recently_used_goes_first() -> None:
    held = cache(entries=2, total=10, threshold=1.0)
    keep(held, "acme", "aaa", now=0.0)
    keep(held, "acme", "bbb", now=1.0)
    ask(held, "acme", "aaa", now=2.0)
    keep(held, "acme", "ccc", now=3.0)
    assert ask(held, "acme", "aaa", "bbb", "ccc", now=4.0).kind.tolist() == [EXACT, MISS, EXACT]


def test_a_tenant_that_fills_the_cache_pushes_out_its_own() -> None:
    held = cache(entries=50, total=6, threshold=1.0)
    keep(held, "small", QUESTION)
    for i in range(20):
        keep(held, "large", "x" * (i + 1), now=float(i))
    assert len(held) <= 6
    assert ask(held, "small", QUESTION, now=20.0).kind.tolist() == [EXACT]


def test_long_prompts_are_found_only_if_they_are_the_same() -> None:
    long = "the same sentence again and again " * 10
    held = cache()
    keep(held, "acme", long)
    assert ask(held, "acme", long, long + "!").kind.tolist() == [EXACT, MISS]


def test_prompts_and_answers_that_are_too_long_are_not_kept() -> None:
    held = cache(most_bytes=20)
    allowed = np.ones(3, np.bool_)
    texts, answers = column("x" * 21, "y", "z"), [b"a", b"b" * 21, None]
    assert held.put(["t"] * 3, texts, answers, allowed, now=0.0) == 0


def test_tenant_is_forgotten_on_demand() -> None:
    held = cache()
    keep(held, "acme", QUESTION, ALMOST)
    assert held.forget("umbrella") == 0
    assert held.forget("acme") == 2
    assert ask(held, "acme", QUESTION).kind.tolist() == [MISS]
    assert len(held) == 0


def test_new_answer_replaces_the_old_one() -> None:
    held = cache()
    for answer in (b"old", b"new"):
        held.put(["t"], column(QUESTION), [answer], np.ones(1, np.bool_), now=0.0)
    assert ask(held, "t", QUESTION).answers == (b"new",)
    assert len(held) == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="random bytes"):
        AnswerCache(letters, CacheConfig(), b"short")
    with pytest.raises(ConfigError, match="one for each"):
        cache().lookup(["a"], column("x", "y"), np.ones(2, np.bool_), now=0.0)
    with pytest.raises(ConfigError, match="null"):
        cache().lookup(["a"], pa.array([None], pa.large_string()), np.ones(1, np.bool_), now=0.0)


STEP = st.tuples(
    st.booleans(), st.sampled_from(["a", "b"]), st.sampled_from(["p", "qq", "rrr", "s t"]), st.integers(0, 4)
)


@settings(deadline=None)
@given(st.lists(STEP, max_size=30))
def test_exact_hits_are_those_of_a_plain_dictionary_with_times(steps: Sequence[tuple[bool, str, str, int]]) -> None:
    held, plain, now = cache(ttl_s=6.0, threshold=1.0, near_bytes=0), {}, 0.0
    for write, tenant, text, wait in steps:
        now += wait
        if write:
            keep(held, tenant, text, now=now)
            plain[tenant, text] = now + 6.0
        else:
            alive = plain.get((tenant, text), -1.0) > now
            assert ask(held, tenant, text, now=now).kind.tolist() == [EXACT if alive else MISS]
    assert len(held) <= len(plain)
