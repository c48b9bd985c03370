from __future__ import annotations

import itertools

import numpy as np
import pytest

from aimds.detect.patterns import thresholds
from aimds.detect.patterns.lexicon import Lexicon, split
from aimds.detect.patterns.similarity import Index
from aimds.errors import ArtefactError

PATTERNS = [b"seven purple walrus commands teapot", b"green boats sail over mountains"]
INDEX = Index.build([("en", words) for words in split(PATTERNS)], Lexicon({}, {}, {}, {}))
FAR = "nothing of the kind is said here"


def test_without_near_text_the_threshold_is_the_cap() -> None:
    assert thresholds.calibrate(INDEX, [FAR, ""]).tolist() == pytest.approx([thresholds.CAP] * 2)
    assert thresholds.calibrate(INDEX, []).tolist() == pytest.approx([thresholds.CAP] * 2)


def test_threshold_is_below_the_nearest_benign_text() -> None:
    limits = thresholds.calibrate(INDEX, [FAR, "the seven purple walrus commands", "green boats sail over a lake"])
    assert limits.tolist() == pytest.approx([0.2 * thresholds.SHARE, 0.2 * thresholds.SHARE])


def test_text_that_the_matcher_would_not_confirm_does_not_count() -> None:
    assert thresholds.calibrate(INDEX, ["teapot commands walrus purple seven"])[0] == pytest.approx(thresholds.CAP)


def test_benign_text_with_the_very_words_leaves_the_floor() -> None:
    assert thresholds.calibrate(INDEX, [PATTERNS[0].decode()])[0] == pytest.approx(thresholds.FLOOR)


NEAR, NEARER = "seven purple walrus commands", "seven purple walrus commands tea teapot"


def test_one_look_alike_may_quote_a_pattern_and_the_second_counts() -> None:
    limits = thresholds.calibrate(INDEX, [], alike=[PATTERNS[0].decode(), FAR])
    assert limits.tolist() == pytest.approx([thresholds.CAP] * 2)
    limits = thresholds.calibrate(INDEX, [], alike=[PATTERNS[0].decode(), FAR, f"now {NEAR}"])
    assert limits.tolist() == pytest.approx([0.2 * thresholds.SHARE, thresholds.CAP])


def test_a_look_alike_that_holds_a_pattern_twice_counts_once() -> None:
    twice = f"{NEAR} {FAR * 30} {NEAR}"
    assert thresholds.calibrate(INDEX, [], alike=[twice])[0] == pytest.approx(thresholds.CAP)


def test_the_order_of_look_alikes_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "BATCH", 2)
    texts = [PATTERNS[0].decode(), FAR, f"{NEAR}", f"say {PATTERNS[0].decode()}", f"green boats sail, {NEAR}", NEARER]
    found = {tuple(thresholds.calibrate(INDEX, [], alike=order).tolist()) for order in itertools.permutations(texts)}
    assert len(found) == 1
    assert found.pop()[0] == pytest.approx(thresholds.FLOOR)


def test_what_a_look_alike_only_quotes_does_not_count() -> None:
    alike = [f'What does "{NEAR}" mean?', f'How do you translate "{NEAR}" into Finnish?']
    assert thresholds.calibrate(INDEX, [], alike=alike)[0] == pytest.approx(thresholds.CAP)


def test_patterns_not_chosen_get_zero() -> None:
    limits = thresholds.calibrate(INDEX, [FAR], chosen=np.array([True, False]))
    assert limits.tolist() == pytest.approx([thresholds.CAP, 0])


def test_order_of_the_texts_does_not_matter() -> None:
    texts = ["seven purple walrus commands", "seven purple walrus teapot it", FAR] * 3
    np.testing.assert_array_equal(thresholds.calibrate(INDEX, texts), thresholds.calibrate(INDEX, texts[::-1]))


def test_packed_thresholds_come_back() -> None:
    limits = np.array([0.1, 0.4], np.float32)
    np.testing.assert_array_equal(thresholds.unpack("x", thresholds.pack(limits, "abc"), "abc", 2), limits)


@pytest.mark.parametrize(
    ("limits", "version", "problem"),
    [
        ([0.1, 0.4], "other", "calibrate again"),
        ([0.1], "abc", "expected 2"),
        ([0.1, 1.5], "abc", "expected 2"),
        ([0.1, float("nan")], "abc", "expected 2"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(limits: list[float], version: str, problem: str) -> None:
    with pytest.raises(ArtefactError, match=problem):
        thresholds.unpack("x", thresholds.pack(np.array(limits, np.float32), version), "abc", 2)


def test_file_that_is_no_archive_is_refused() -> None:
    with pytest.raises(ArtefactError):
        thresholds.unpack("x", b"no archive", "abc", 2)
