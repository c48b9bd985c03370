"""Tails are a group's own where the rows bear it out, and more cautious than any behind them where they do not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from score_factory import scores, shipped

from aimds.detect import calibration, fusion, tail
from aimds.errors import ConfigError
from aimds.jobs.calibrate import fitting
from aimds.jobs.calibrate.fitting import Levels, cautious, fit, needed

MODEL = shipped()
LEVELS = Levels()
X = np.linspace(-4, 30, 400)


def normal(n: int, shift: float = 0.0, scale: float = 1.0) -> tail.Tail:
    return tail.fit(np.random.default_rng(7).normal(size=n) * scale + shift)


@pytest.mark.parametrize(("shift", "scale"), [(2.0, 1.0), (-2.0, 1.0), (0.0, 3.0), (1.0, 0.2), (0.0, 1.0)])
@pytest.mark.parametrize("floor", [1.0, 0.0025])
def test_a_cautious_tail_is_the_larger_of_both_and_the_own_one_down_to_its_floor(
    shift: float, scale: float, floor: float
) -> None:
    own, wider = normal(2000, shift, scale), normal(20_000)
    made = cautious(own, wider, floor)
    assert made.is_sound()
    expected = np.maximum(own.p_value(X), np.minimum(wider.p_value(X), floor))
    far = expected > fitting.FARTHEST_P
    np.testing.assert_allclose(made.p_value(X)[far], expected[far], rtol=0.05)
    assert np.all(np.diff(made.p_value(X)) <= 0)
    if floor < 1:
        np.testing.assert_array_equal(made.p_value(X) <= floor, own.p_value(X) <= floor)


def test_far_beyond_both_a_cautious_tail_falls_no_faster_than_either() -> None:
    own, wider = normal(2000, 0, 2.0), normal(20_000)
    x = np.array([40.0, 80.0, 160.0])
    assert np.all(cautious(own, wider, 1.0).p_value(x) >= 0.5 * np.maximum(own.p_value(x), wider.p_value(x)))


def test_needed_rows_follow_the_share_of_the_stage_and_the_threshold() -> None:
    assert (needed(0.01, 0.25), needed(0.001, 0.25)) == (4000, 40_000)
    assert (needed(0.01, 0.15), needed(0.001, 0.6), needed(0.01, 0.2)) == (6667, 16_667, 5000)
    assert [LEVELS.borne_out(n, 0.25) for n in (3999, 4000, 39_999, 40_000)] == [1.0, 0.01, 0.01, 0.001]
    for spending in (fusion.SHARES, fusion.UNTRUSTED_SHARES):
        for share in spending.values():
            enough = needed(0.001, share)
            assert enough * 0.001 * share >= 10 * (1 - 1e-9)
            assert (enough - 1) * 0.001 * share < 10
    with pytest.raises(ConfigError, match="block <= flag"):
        Levels(flag=0.001, block=0.01)


def test_the_page_on_calibration_names_the_rows_that_the_shares_of_fusion_need() -> None:
    page = (Path(__file__).parents[3] / "docs" / "calibration.md").read_text("utf-8")
    patterns = min(fusion.SHARES["patterns"], fusion.UNTRUSTED_SHARES["patterns"])
    wanted = [*(fusion.SHARES[stage] for stage in ("attack", "rules")), patterns]
    wanted += [*(fusion.UNTRUSTED_SHARES[stage] for stage in ("attack", "indirect", "rules"))]
    for alpha in (0.01, 0.001):
        for share in wanted:
            assert f"{needed(alpha, share):,}" in page, share


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("n", [3000, 5000, 6000, 10_000, 20_000])
def test_a_threshold_is_borne_out_only_where_ten_rows_are_expected_beyond_the_part_of_every_stage(
    n: int, deep: bool
) -> None:
    rows = scores(np.random.default_rng(6), n, untrusted=0.0, deep=deep)
    fitted = fit(shipped(deep=deep), rows, np.zeros(n, np.int8), LEVELS)
    trusted, _ = fusion.shares(rows)
    scarcest = min(n * LEVELS.flag * share for share in trusted.values())
    assert (fitted.borne[""]["trusted"] <= LEVELS.flag) == (scarcest >= 10)
    assert fitted.borne[""]["untrusted"] == 1.0


def test_a_tail_that_too_few_rows_bear_out_for_its_share_is_held_back_and_one_with_a_larger_share_is_not() -> None:
    n, rng = 3000, np.random.default_rng(8)
    rows = scores(rng, n, shift=-3.0, untrusted=0.0)
    rows.margin = np.where(rng.random(n) < 0.97, -1, rng.uniform(-1, -0.5, n)).astype(np.float32)
    tails = fit(MODEL, rows, np.zeros(n, np.int8), LEVELS).tails
    # Of the threshold 0.01 the attack head may spend 0.4 and needs 2,500 rows, the patterns 0.2 and need 5,000.
    at = tail.fit(rows.attack).quantile(0.004)
    assert MODEL.tails["attack"].p_value(at) > 0.05
    assert tails["attack"].p_value(at) == pytest.approx(0.004, rel=0.01)
    at = tail.fit(rows.margin).quantile(0.002)
    assert MODEL.tails["patterns"].p_value(at) > 0.01
    assert tails["patterns"].p_value(at) == pytest.approx(MODEL.tails["patterns"].p_value(at), rel=0.01)


def test_few_rows_make_no_group_and_never_a_smaller_p_value_than_the_shipped_tails() -> None:
    rng = np.random.default_rng(1)
    rows = scores(rng, 900, shift=-1.0)
    fitted = fit(MODEL, rows, rng.integers(0, 5, 900).astype(np.int8), LEVELS)
    assert set(fitted.rows) == {""}
    for name, made in fitted.tails.items():
        x = np.linspace(-1, 8, 60)
        assert np.all(made.p_value(x) >= 0.98 * MODEL.tails[name].p_value(x)), name


def test_a_channel_and_a_script_with_rows_enough_get_tails_of_their_own() -> None:
    rng = np.random.default_rng(2)
    n = 34_000
    rows = scores(rng, n)
    script = np.where(rng.random(n) < 0.4, 1, 0).astype(np.int8)
    rows.attack[script == 1] += 3
    fitted = fit(MODEL, rows, script, LEVELS)
    assert set(fitted.rows) == {"", "trusted", "untrusted", "trusted.latin", "trusted.cyrillic", "untrusted.latin"}
    after = dataclasses.replace(MODEL, tails={**MODEL.tails, **fitted.tails})
    fresh, its = scores(rng, 30_000), np.where(rng.random(30_000) < 0.4, 1, 0).astype(np.int8)
    fresh.attack[its == 1] += 3
    p = calibration.fuse(after, fresh, its).p_value
    for code in (0, 1):
        mine = (its == code) & ~fresh.untrusted
        assert 0.003 < np.mean(p[mine] <= 0.01) < 0.015
    pooled = fusion.fuse(calibration.for_group(after, ""), fresh).p_value
    assert np.mean(pooled[mine] <= 0.01) > 1.25 * np.mean(p[mine] <= 0.01)


def test_traffic_of_one_channel_is_not_split_by_it() -> None:
    rng = np.random.default_rng(3)
    fitted = fit(MODEL, scores(rng, 6000, untrusted=0.0), np.zeros(6000, np.int8), LEVELS)
    assert set(fitted.rows) == {""}
    assert fitted.rows[""]["trusted"] == 6000
    assert fitted.rows[""]["untrusted"] == 0


def test_a_stage_that_saw_few_rows_counts_the_others_as_lower() -> None:
    seen = np.full(5000, -np.inf, np.float32)
    seen[:250] = np.linspace(0, 1, 250)
    made = fitting._own("deep", seen)
    assert made.p_value(0.5) == pytest.approx(125 / 5000, rel=0.1)
    assert made.is_sound()


def test_the_tail_of_encoder_and_head_together_is_right_for_the_texts_the_encoder_sees() -> None:
    rng = np.random.default_rng(4)
    model = shipped(deep=True)
    rows = scores(rng, 20_000, deep=True)
    fitted = fit(model, rows, np.zeros(20_000, np.int8), LEVELS)
    assert {"joint", "joint.untrusted"} <= set(fitted.tails)
    fresh = scores(rng, 40_000, deep=True)
    after = dataclasses.replace(model, tails={**model.tails, **fitted.tails})
    p = calibration.fuse(after, fresh, np.zeros(40_000, np.int8)).p_value
    assert 0.004 < np.mean(p <= 0.01) < 0.013
    assert np.mean(fusion.fuse(model, fresh).p_value <= 0.01) > 0.03


def test_the_tail_of_encoder_and_head_together_is_right_for_long_texts_too() -> None:
    rng = np.random.default_rng(5)
    model = shipped(deep=True)

    def long(n: int) -> fusion.StageScores:
        rows = dataclasses.replace(scores(rng, n), units=np.full(n, 8.0))
        seen = fusion.fuse(MODEL, rows).p_value <= 0.3
        return dataclasses.replace(rows, deep=np.where(seen, rng.normal(size=n), -np.inf).astype(np.float32))

    fitted = fit(model, long(20_000), np.zeros(20_000, np.int8), LEVELS)
    after = dataclasses.replace(model, tails={**model.tails, **fitted.tails})
    p = calibration.fuse(after, long(40_000), np.zeros(40_000, np.int8)).p_value
    assert 0.004 < np.mean(p <= 0.01) < 0.013
