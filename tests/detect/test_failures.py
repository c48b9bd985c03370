"""Which detectors could not judge a row, read from its status and error."""

from __future__ import annotations

import numpy as np
import pytest

from aimds.detect.failures import (
    DETECTORS,
    EVERY,
    INVALID,
    NORMALIZE,
    TRUNCATED,
    UNKNOWN_CHANNEL,
    StageError,
    failed,
    named,
    of_error,
)
from aimds.errors import ArtefactError
from aimds.schema import STATUSES, UNFOLLOWED


def bits(*names: str) -> int:
    return sum(1 << DETECTORS.index(name) for name in names)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TRUNCATED, NORMALIZE),
        (INVALID, NORMALIZE),
        ("detector pii: ValueError: no", bits("pii")),
        (f"detector pii: ValueError: a; b; detector rules: OSError: c; {TRUNCATED}", bits("pii", "rules", "normalize")),
        (f"{UNKNOWN_CHANNEL}'mail': screened as document", 0),
        (f"{TRUNCATED}; {UNKNOWN_CHANNEL}'x; y': screened as document", NORMALIZE),
        ("detector telepathy: gone", EVERY),
        ("something else", EVERY),
        ("", EVERY),
        (None, EVERY),
    ],
)
def test_error_of_a_partly_judged_row_names_its_detectors_and_an_unknown_one_means_all(
    error: str | None, expected: int
) -> None:
    assert of_error(error) == expected


def test_a_policy_that_could_not_judge_the_session_is_no_failure_of_a_detector() -> None:
    remark = f"{UNFOLLOWED}threat_rate: no times in this session"
    assert of_error(remark) == 0
    assert of_error(f"detector pii: broke; {remark}") == bits("pii")


def test_judged_rows_have_no_bits_and_rows_in_error_all() -> None:
    status = np.array([STATUSES.index(name) for name in ("ok", "error", "partial")], np.int8)
    assert failed(status, {1: "text is null", 2: INVALID}).tolist() == [0, EVERY, NORMALIZE]


def test_what_breaks_in_a_stage_is_named_and_what_makes_it_unfit_is_not_swallowed() -> None:
    with pytest.raises(StageError, match="detector pii: ValueError: no") as caught, named("pii"):
        raise ValueError("no")
    assert (caught.value.detector, of_error(str(caught.value))) == ("pii", bits("pii"))
    with pytest.raises(ArtefactError), named("pii"):
        raise ArtefactError("x", "gone")
