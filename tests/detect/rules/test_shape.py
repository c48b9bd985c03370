"""Repetition: which stretches are found, and that no text makes the search cost more than its length allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.detect.rules.shape import MAX_PERIOD, REPEAT_BYTES, _repetitions, repetitions

LEAST, PERIODS = 200, 8


def pack(rows: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    return np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)]).astype(np.int64)


def search(row: bytes, least: int = REPEAT_BYTES, periods: int = MAX_PERIOD) -> tuple[list[list[int]], int]:
    """First byte, end and period of each stretch of one text, and the comparisons made."""
    found, compared = _repetitions(*pack([row]), periods, least)
    return found[:, 1:].tolist(), compared


def naive(row: bytes, least: int, periods: int) -> set[tuple[int, int]]:
    """Every longest stretch by definition."""
    out = set()
    for period in range(1, periods + 1):
        begin = 0
        for i in range(len(row) - period + 1):
            if i + period == len(row) or row[i] != row[i + period]:
                if i + period - begin >= least:
                    out.add((begin, i + period))
                begin = i + 1
    return out


PIECES = st.tuples(st.text("ab", min_size=1, max_size=PERIODS), st.integers(1, 400)).map(
    lambda pair: (pair[0].encode() * pair[1])[:700]
)


@settings(max_examples=150)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=8).map(b"".join))
def test_every_stretch_is_found_once_and_nothing_else(row: bytes) -> None:
    found, _ = search(row, LEAST, PERIODS)
    places = [(start, end) for start, end, _ in found]
    assert len(set(places)) == len(places)
    assert places == sorted(naive(row, LEAST, PERIODS))
    for start, end, period in found:
        assert row[start : end - period] == row[start + period : end]


def test_a_stretch_that_begins_in_the_tail_of_another_is_found_at_the_end_of_the_text() -> None:
    # The last six bytes of the first are the first six of the second, which is just long enough.
    row = b"ab" * 150 + b"c" + (b"abababc" * 30)[: LEAST - 7]
    assert search(row, LEAST, PERIODS)[0] == [[0, 300, 2], [294, 294 + LEAST, 7]]


def hostile(n: int) -> dict[str, bytes]:
    short = REPEAT_BYTES - 10
    return {
        "two halves": b"a" * (n // 2) + b"b" * (n // 2 - 1),
        "halves around a stranger": (b"a." * n)[: n // 2] + b"@" + (b"a." * n)[: n // 2 - 1],
        "one letter": b"a" * n,
        "stretches a little too short": ((b"a" * short + b"b" * short) * (n // short + 1))[:n],
        "every period in turn": b"".join(bytes([*range(p), 255]) * (3000 // p) for p in range(1, 65))
        * (n // 190_000 + 1),
        "growing": b"".join(b"a" * k + b"b" for k in range(1000, 1000 + n // 1000)),
    }


@pytest.mark.parametrize("name", hostile(0))
def test_the_search_compares_each_byte_about_once_for_each_period(name: str) -> None:
    for n in (125_000, 1_000_000):
        row = hostile(n)[name]
        _, compared = search(row)
        assert compared <= 1.01 * MAX_PERIOD * len(row) + 10_000


@pytest.mark.parametrize("name", ["two halves", "halves around a stranger", "one letter"])
def test_a_long_stretch_is_walked_once(name: str) -> None:
    row = hostile(1_000_000)[name]
    _, compared = search(row)
    assert compared <= 1.01 * len(row) + 10_000


def test_text_that_does_not_repeat_is_hardly_read() -> None:
    row = " ".join(str(i * 7919 % 100_003) for i in range(150_000)).encode()
    _, compared = search(row)
    assert compared < len(row) / 100


def test_stretches_are_reported_by_text_and_place() -> None:
    run = b"poem " * (REPEAT_BYTES // 5)
    values, offsets = pack([b"", run + b"." + run, b"poem", b"so: " + run])
    size = len(run)
    assert repetitions(values, offsets).tolist() == [[1, 0, size], [1, size + 1, 2 * size + 1], [3, 3, 4 + size]]


def test_repetition_does_not_go_on_in_the_next_text() -> None:
    run = b"poem " * (REPEAT_BYTES // 10)
    assert len(repetitions(*pack([run, run, run]))) == 0
    assert repetitions(*pack([])).shape == (0, 3)


@pytest.mark.parametrize(
    ("piece", "counts"),
    [
        ("poem ", True), ("la la\n", True), ("\u5440", True), ("\u043d\u0435\u0442 ", True), ("\u0928\u0939\u0940\u0902 ", True),
        ("a", False), ("Az", False), (" ", False), ("-", False), ("0 ", False), ("a, ", False), ("<p> ", False),
        ("\u2500", False), ("\u3000", False), ("\ufffd", False), ("\u00a0", False),
    ],
)  # fmt: skip
def test_only_pieces_of_words_count(piece: str, counts: bool) -> None:
    row = piece.encode() * (REPEAT_BYTES // len(piece.encode()) + 1)
    for cut in range(min(3, len(piece.encode()))):
        assert (len(repetitions(*pack([row[cut:] + piece.encode()]))) == 1) is counts
