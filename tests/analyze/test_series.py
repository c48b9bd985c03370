"""Series of surprises: what they are made from."""

from __future__ import annotations

from aimds.analyze.series import MOST, surprise


def test_a_turn_that_surprises_nobody_has_a_zero_without_a_sign() -> None:
    assert str(surprise([1.0, 0.1, 0.0]).tolist()) == f"[0.0, 1.0, {MOST}]"
