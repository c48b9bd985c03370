"""The suite throughput: rates from the clock it is given, stages from the screener, and the share the encoder sees."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aimds.detect.stages import COLUMNS, P_VALUE
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate import throughput
from aimds.jobs.evaluate.sample import packed


def corpora(corpus_of: Callable[..., Corpus]) -> list[Corpus]:
    return [
        corpus_of("a", [(f"a{k}", 0, "s") for k in range(6)]),
        corpus_of("b", [(f"b{k}", 1, "s") for k in range(4)]),
    ]


def test_every_row_is_screened_once_and_the_rate_is_that_of_the_clock(
    screener: Any, corpus_of: Callable[..., Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "BATCH_ROWS", 4)
    (row,) = throughput.suite({"fast": screener}, corpora(corpus_of), clock=count(step=2).__next__)
    assert (row["profile"], row["rows"], row["rows_per_s"]) == ("fast", 10, 10 / 6)
    assert row["stages"] == {"counting": 10.0}, "the row that warms up is not counted"
    assert row["deep_share"] is None
    assert sorted(screener.seen[1:]) == sorted(f"{name}{k}" for name, n in (("a", 6), ("b", 4)) for k in range(n))


def test_no_batch_is_begun_after_the_budget(
    screener: Any, corpus_of: Callable[..., Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "BATCH_ROWS", 4)
    told: list[int] = []
    clock = count(step=2).__next__
    (row,) = throughput.suite({"fast": screener}, corpora(corpus_of), budget_s=3, clock=clock, advance=told.append)
    assert (row["rows"], row["rows_per_s"], told) == (8, 2.0, [4, 4])


@dataclass(frozen=True)
class Stages:
    """A detector whose p-values are given as texts."""

    deep: object
    profile: str
    gray: float = 0.05

    def score(self, texts: Any, channel: Any) -> Any:
        assert self.deep is None
        numbers = np.zeros((len(texts), COLUMNS))
        numbers[:, P_VALUE] = [float(texts.raw(row)) for row in range(len(texts))]
        return SimpleNamespace(numbers=numbers)


def test_the_share_of_the_encoder_is_the_gray_zone_in_cascade_and_all_in_full() -> None:
    texts, channel = packed(["0.5", "0.04", "0.01", "0.00001"]), np.zeros(4, np.int8)
    share: Callable[[Any], float | None] = lambda detector: throughput.deep_share(detector, texts, channel)  # noqa: E731
    assert share(Stages(object(), "cascade")) == 0.5
    assert share(Stages(object(), "full")) == 1.0
    assert share(Stages(None, "fast")) is None
