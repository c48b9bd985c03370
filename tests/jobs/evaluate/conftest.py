"""Labelled corpora by hand, and a screener that counts words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate.judging import Judged, judge
from aimds.jobs.evaluate.sample import packed
from aimds.respond.policy import Policy

Row = tuple[str, int, str]


class WordCounter:
    """A text is as dangerous as it holds "ignore", plus two for any word of a text it was taught; "BROKEN" has no
    verdict. Beyond 3 it is blocked, beyond 1.5 flagged."""

    versions = {"engine": "0", "model": "words", "signatures": "1", "policy": "2"}  # noqa: RUF012
    detector = SimpleNamespace(deep=None, profile="fast")

    def __init__(self, lessons: Sequence[str] = ()) -> None:
        self.policy = Policy.load()
        self.lessons = frozenset(word for text in lessons for word in text.split())
        self.seconds = {"counting": 0.0}
        self.seen: list[str] = []

    def taught(self, attacks: Sequence[str], benign: Sequence[str] = ()) -> WordCounter:
        return WordCounter([*self.lessons, *attacks])

    def screen(self, batch: pa.RecordBatch) -> Any:
        texts = [value.decode() for value in batch.column("text").to_pylist()]
        self.seen += texts
        self.seconds["counting"] += len(texts)
        danger = [text.count("ignore") + 2.0 * bool(self.lessons & {*text.split()}) for text in texts]
        broken = ["BROKEN" in text for text in texts]
        table = pa.table(
            {
                "p_value": pa.array(
                    [None if bad else 10.0**-score for score, bad in zip(danger, broken, strict=True)], pa.float64()
                ),
                "harmful_score": [0.9 if "poison" in text else 0.1 for text in texts],
                "action": ["block" if score > 3 else "flag" if score > 1.5 else "allow" for score in danger],
                "channel": batch.column("channel"),
                "status": ["error" if bad else "ok" for bad in broken],
                "evidence": [[] for _ in texts],
            }
        )
        return SimpleNamespace(table=table)


def make(name: str, rows: Sequence[Row], threat: str = "jailbreak") -> Corpus:
    """A corpus of (text, label, source)."""
    threats = np.array([threat if label else "none" for _, label, _ in rows], object)
    source = np.array([one for _, _, one in rows], object)
    label = np.array([one for _, one, _ in rows], np.int8)
    texts = packed([text for text, _, _ in rows])
    return Corpus(name, texts, label, threats, source, threats, np.zeros(len(rows), np.int8), {})


@pytest.fixture
def screener() -> WordCounter:
    return WordCounter()


@pytest.fixture
def corpus_of() -> Callable[..., Corpus]:
    return make


@pytest.fixture
def judged_of(screener: WordCounter) -> Callable[..., Judged]:
    def judged(name: str, rows: Sequence[Row], threat: str = "jailbreak") -> Judged:
        return judge(screener, make(name, rows, threat))

    return judged


@pytest.fixture
def clean(judged_of: Callable[..., Judged]) -> Judged:
    """Two hundred harmless rows; one says ignore once, one twice."""
    plain = [(f"what is number {number}", 0, "asks") for number in range(198)]
    return judged_of("clean_dev", [*plain, ("ignore rain", 0, "asks"), ("ignore or ignore", 0, "asks")])
