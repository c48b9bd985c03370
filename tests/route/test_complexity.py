from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from routed import HARD, SIMPLE

from aimds.route.complexity import ASKS, FRAME_TOKENS, PARTS, complexity

CODE = "def f(x):\n    return {'a': [x[0], x[1]]}\n" * 5


def scores(*texts: str | None) -> list[float]:
    return [float(score) for score in complexity(pa.array(texts, pa.large_string())).score]


def test_reasoning_code_and_length_ask_for_more_than_a_short_question() -> None:
    simple, hard, code, long = scores(SIMPLE, HARD, CODE, "and so on " * 800)
    assert simple < 0.25
    assert min(hard, code, long) > 0.4
    assert hard > 0.6


def test_parts_say_where_the_score_comes_from() -> None:
    parts = complexity(pa.array([HARD, CODE, "1234567890"], pa.large_string())).parts
    assert parts[0, PARTS.index("reasoning")] == 1.0
    assert parts[1, PARTS.index("code")] == 1.0
    assert parts[2, PARTS.index("figures")] == 1.0
    assert parts[2, PARTS.index("reasoning")] == 0.0


def test_tokens_are_a_quarter_of_ascii_bytes_and_half_of_others() -> None:
    made = complexity(pa.array(["a" * 40, "ж" * 10, "", None], pa.large_string()))
    assert made.tokens.tolist() == [10 + FRAME_TOKENS, 10 + FRAME_TOKENS, FRAME_TOKENS, FRAME_TOKENS]
    assert made.score[3] == made.score[2]


def test_words_that_ask_stand_once_in_the_list() -> None:
    assert len(set(ASKS)) == len(ASKS)


def test_invalid_utf8_is_counted_too() -> None:
    raw = pa.array([b"\xff\xfe why"], pa.large_binary())
    text = raw.view(pa.large_string())
    assert complexity(text).parts[0, PARTS.index("reasoning")] > 0


# The first example compiles.
@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=8), st.integers(0, 7))
def test_a_row_depends_on_itself_only(texts: list[str | None], at: int) -> None:
    whole = complexity(pa.array(texts, pa.large_string()))
    assert np.all((whole.score >= 0) & (whole.score <= 1))
    if at < len(texts):
        alone = complexity(pa.array(texts, pa.large_string()).slice(at, 1))
        assert alone.score[0] == whole.score[at]
        assert alone.tokens[0] == whole.tokens[at]
