from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from aimds.analyze.rephrase import DIMS, MOST_BYTES, fingerprints, refused
from aimds.detect.texts import Texts


def prints(*texts: str) -> np.ndarray:
    return fingerprints(Texts.from_arrow(pa.array(texts, pa.large_string()))).astype(np.float64) / 127


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m not able to do this.",
        "I CANNOT HELP with that",
        "Es tut mir leid, aber das geht nicht.",
        "抱歉，我无法回答。",
    ],
)
def test_a_refusal_is_seen(text):
    assert refused([text.encode()])[0]


@pytest.mark.parametrize(
    "text", [None, b"", b"Sure, here is the recipe.", b"\xff\xfe", b"Of course. " * 60 + b"I won't."]
)
def test_an_answer_is_none(text):
    assert not refused([text])[0]


def test_a_rephrased_text_is_nearer_than_another():
    first, again, other = prints(
        "how do I open the locked safe at home",
        "tell me how to open a locked safe in my home please",
        "what is the weather like in Paris today",
    )
    assert first @ again > first @ other + 0.2


def test_a_fingerprint_has_length_one_and_depends_on_its_own_text():
    both = prints("a first text", "")
    assert both.shape == (2, DIMS)
    assert np.linalg.norm(both[0]) == pytest.approx(1.0, abs=0.05)
    assert not both[1].any()
    assert np.array_equal(prints("a first text")[0], both[0])


def test_only_the_beginning_of_a_long_text_counts():
    start = "word " * (MOST_BYTES // 5 + 1)
    assert np.array_equal(prints(start + "more and more"), prints(start + "something else"))
