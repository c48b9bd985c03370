"""Windows cover each view whole, in order, at spaces, and never cut a character in two."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.features import STRIDE_BYTES, WINDOW_BYTES, cut, first_best

TEXTS = st.lists(
    st.builds(lambda unit, times: (unit * times)[:3000], st.text("ab é漢😀\n", max_size=30), st.integers(0, 200)),
    max_size=5,
)


def pack(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int64)
    offsets[1:] = np.cumsum([len(item) for item in encoded])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


@given(TEXTS)
def test_windows_cover_every_byte_in_order_and_are_valid_utf8(texts: list[str]) -> None:
    values, bounds = pack(texts)
    out, offsets, owner, base = cut(values, bounds[:-1], bounds[1:], 120, 60, 180)
    for index, text in enumerate(texts):
        encoded = text.encode()
        mine = np.flatnonzero(owner == index)
        assert len(mine) >= 1
        reached = 0
        for window in mine:
            piece = out[offsets[window] : offsets[window + 1]].tobytes()
            start = int(base[window])
            assert encoded[start : start + len(piece)] == piece
            piece.decode()
            assert start <= reached
            assert len(piece) <= max(120, 180)
            reached = max(reached, start + len(piece))
        assert reached == len(encoded)
        if len(encoded) <= 180:
            assert len(mine) == 1


def test_windows_begin_after_a_space_where_there_is_one() -> None:
    text = "word " * 1000
    values, bounds = pack([text])
    out, offsets, _, base = cut(values, bounds[:-1], bounds[1:], WINDOW_BYTES, STRIDE_BYTES, WINDOW_BYTES)
    for window in range(len(offsets) - 1):
        assert out[offsets[window] : offsets[window] + 4].tobytes() == b"word"
        assert base[window] % 5 == 0


def test_a_text_without_a_space_is_still_cut_into_bounded_pieces() -> None:
    values, bounds = pack(["x" * 100_000])
    _, offsets, _, _ = cut(values, bounds[:-1], bounds[1:], WINDOW_BYTES, STRIDE_BYTES, WINDOW_BYTES)
    sizes = np.diff(offsets)
    assert sizes.max() <= WINDOW_BYTES
    assert len(sizes) <= 100_000 // (STRIDE_BYTES // 2)


def test_the_best_window_of_a_row_is_its_first_and_what_is_not_a_number_stays_so() -> None:
    scores = np.array([1, 3, 3, np.nan, 9, -np.inf], np.float32)
    top, at = first_best(scores, np.array([0, 0, 0, 1, 1, 3], np.int32), 4)
    assert at.tolist() == [1, 3, 0, 0]
    assert top[0] == 3
    assert np.isnan(top[1])
    assert (top[2:] == -np.inf).all()
