"""Fusion: monotone in every stage, bounded by the budget, and honest about channels and decoded text."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect import fusion, tail
from aimds.detect.classifier import HEADS, Classifier
from aimds.taxonomy import CODES, THREATS

RNG = np.random.default_rng(0)
TAILS = {name: tail.fit(RNG.normal(size=20_000)) for name in ("attack", "attack.untrusted", "indirect", "harmful")} | {
    "patterns": tail.fit(RNG.uniform(-1, 0, 20_000)),
    "rules": tail.fit((RNG.random(20_000) < 0.001) * 0.5),
}
JOINT = {
    name: tail.fit(fusion.joint(RNG.random(20_000), RNG.normal(size=20_000).astype(np.float32) - 3))
    for name in ("joint", "joint.untrusted")
}
MODEL = Classifier(
    bits=10,
    weights=np.zeros((1024, len(HEADS)), np.int8),
    scale=np.ones(len(HEADS), np.float32),
    idf=np.ones(1024, np.float32),
    bias=np.zeros(len(HEADS), np.float32),
    tails=TAILS,
    card={"calibration": {"slope": 1.5, "intercept": -4.0}},
    version="test",
)

WITH_ENCODER = dataclasses.replace(MODEL, tails={**TAILS, **JOINT})


def stages(n: int = 1, **changes: object) -> fusion.StageScores:
    base = {
        "attack": np.full(n, -1.0, np.float32),
        "indirect": np.full(n, -1.0, np.float32),
        "harmful": np.full(n, -1.0, np.float32),
        "type_code": np.full(n, CODES["jailbreak"], np.int8),
        "margin": np.full(n, -1.0, np.float32),
        "pattern_code": np.zeros(n, np.int8),
        "rules": np.zeros((n, len(THREATS)), np.float32),
        "decoded": np.zeros(n, np.bool_),
        "hidden": np.zeros(n, np.bool_),
        "untrusted": np.zeros(n, np.bool_),
        "units": np.ones(n),
    }
    return fusion.StageScores(**(base | changes))  # type: ignore[arg-type]


def rule(threat: str, strength: float) -> np.ndarray:
    out = np.zeros((1, len(THREATS)), np.float32)
    out[0, CODES[threat]] = strength
    return out


def test_shares_of_the_budget_sum_to_one() -> None:
    assert sum(fusion.SHARES.values()) == pytest.approx(1.0)
    assert sum(fusion.UNTRUSTED_SHARES.values()) == pytest.approx(1.0)


@given(st.floats(-3, 8), st.floats(0.01, 5))
def test_a_higher_attack_score_never_raises_p_nor_lowers_the_score(low: float, more: float) -> None:
    fused = fusion.fuse(MODEL, stages(2, attack=np.array([low, low + more], np.float32)))
    assert fused.p_value[1] <= fused.p_value[0]
    assert fused.score[1] >= fused.score[0]
    assert 0 < fused.score[0] < 1


def test_benign_rows_are_flagged_no_more_often_than_the_threshold_says() -> None:
    n = 50_000
    rng = np.random.default_rng(5)
    fused = fusion.fuse(MODEL, stages(n, attack=rng.normal(size=n).astype(np.float32)))
    for level in (0.01, 0.001):
        assert np.mean(fused.p_value <= level) < 1.3 * level


def test_the_threat_type_is_the_one_of_the_stage_with_the_smallest_p() -> None:
    assert THREATS[fusion.fuse(MODEL, stages(attack=np.array([6], np.float32))).threat[0]] == "jailbreak"
    assert THREATS[fusion.fuse(MODEL, stages(rules=rule("data_exfiltration", 1.0))).threat[0]] == "data_exfiltration"


def test_nothing_notable_has_no_threat_type_and_no_severity() -> None:
    fused = fusion.fuse(MODEL, stages())
    assert THREATS[fused.threat[0]] == "none"
    assert fused.severity[0] == 0


def test_direct_injection_in_a_document_is_indirect_injection() -> None:
    found = rule("direct_injection", 1.0)
    trusted, document = (fusion.fuse(MODEL, stages(rules=found, untrusted=np.array([flag]))) for flag in (False, True))
    assert THREATS[trusted.threat[0]] == "direct_injection"
    assert THREATS[document.threat[0]] == "indirect_injection"
    assert document.scores[0, CODES["direct_injection"]] < 0.1


def test_the_head_for_planted_instructions_counts_in_untrusted_channels_only() -> None:
    high = np.array([6], np.float32)
    assert fusion.fuse(MODEL, stages(indirect=high)).p_value[0] > 0.1
    assert fusion.fuse(MODEL, stages(indirect=high, untrusted=np.array([True]))).p_value[0] < 0.001


def test_an_attack_seen_only_after_decoding_is_obfuscation() -> None:
    fused = fusion.fuse(MODEL, stages(attack=np.array([6], np.float32), decoded=np.array([True])))
    assert THREATS[fused.threat[0]] == "obfuscation"
    assert fused.scores[0, CODES["jailbreak"]] == pytest.approx(fused.scores[0, CODES["obfuscation"]])


@pytest.mark.parametrize("model", [MODEL, WITH_ENCODER], ids=["fast", "with encoder"])
def test_what_is_hidden_under_a_cipher_is_as_rare_as_something_more_conspicuous_in_the_open(model: Classifier) -> None:
    score = {"attack": np.full(2, 1.8, np.float32), "harmful": np.full(2, 1.0, np.float32)}
    if model is WITH_ENCODER:
        score["deep"] = np.full(2, -2.0, np.float32)
    fused = fusion.fuse(model, stages(2, hidden=np.array([False, True]), **score))
    assert 0.01 < fused.p_value[0] < 0.2
    assert fused.p_value[1] < fused.p_value[0] / 2
    assert fused.p_harmful[1] == fused.p_harmful[0], "hiding is no request for harmful content"
    if model is MODEL:
        assert fused.p_value[1] == fused.p_value[0] / fusion.HIDDEN_ODDS


def test_harmful_requests_never_move_the_p_value() -> None:
    fused = fusion.fuse(MODEL, stages(harmful=np.array([8], np.float32)))
    assert fused.p_value[0] == fusion.fuse(MODEL, stages()).p_value[0]
    assert fused.harmful[0] > 0.5
    assert THREATS[fused.threat[0]] == "none"


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(9)
    many = stages(50, attack=rng.normal(size=50).astype(np.float32), margin=rng.uniform(-1, 1, 50).astype(np.float32))
    together = fusion.fuse(MODEL, many)
    for row in range(0, 50, 7):
        alone = fusion.fuse(MODEL, stages(1, attack=many.attack[row : row + 1], margin=many.margin[row : row + 1]))
        assert alone.p_value[0] == together.p_value[row]
        assert alone.score[0] == together.score[row]


@pytest.mark.parametrize("name", ["attack", "harmful", "margin"])
@pytest.mark.parametrize("untrusted", [False, True])
def test_a_score_that_is_not_a_number_makes_its_row_not_a_number_and_no_other(name: str, untrusted: bool) -> None:
    broken = getattr(stages(3), name)
    broken[1] = np.nan
    fused = fusion.fuse(MODEL, stages(3, untrusted=np.full(3, untrusted), **{name: broken}))
    numbers = np.column_stack([fused.p_value, fused.p_harmful, fused.score, fused.scores])
    assert np.isfinite(numbers).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("untrusted", [False, True])
def test_the_more_the_encoder_finds_the_smaller_the_p_value_and_a_row_it_did_not_look_at_keeps_its_own(
    untrusted: bool,
) -> None:
    rows = stages(6, attack=np.full(6, 2.5, np.float32), untrusted=np.full(6, untrusted))
    before = fusion.fuse(WITH_ENCODER, rows).p_value
    margins = np.array([-np.inf, -12, -6, -3, 3, 9], np.float32)
    fused = fusion.fuse(WITH_ENCODER, dataclasses.replace(rows, deep=margins))
    assert fused.p_value[0] == before[0]
    assert np.all(np.diff(fused.p_value[1:]) < 0)
    assert fused.p_value[1] > 2 * before[0] > 4 * fused.p_value[-1]
    assert np.all(np.diff(fused.score[1:]) > 0)


def test_the_encoder_is_held_to_the_benign_tail_of_the_channel() -> None:
    higher = tail.fit(RNG.normal(size=20_000) + 9)
    model = dataclasses.replace(MODEL, tails={**TAILS, **JOINT, "joint.untrusted": higher})
    rows = stages(2, untrusted=np.array([False, True]), rules=np.repeat(rule("prompt_leak", 0.5), 2, axis=0))
    fused = fusion.fuse(model, dataclasses.replace(rows, deep=np.full(2, 3, np.float32)))
    assert fused.p_value[0] < 0.01 < fused.p_value[1]


@pytest.mark.parametrize("name", ["attack", "harmful", "margin"])
@pytest.mark.parametrize("untrusted", [False, True])
def test_where_the_encoder_looked_a_score_that_is_not_a_number_still_makes_its_row_not_a_number(
    name: str, untrusted: bool
) -> None:
    broken = getattr(stages(3), name)
    broken[1] = np.nan
    found = stages(3, untrusted=np.full(3, untrusted), deep=np.full(3, -2, np.float32), **{name: broken})
    fused = fusion.fuse(WITH_ENCODER, found)
    numbers = np.column_stack([fused.p_value, fused.p_harmful, fused.score, fused.scores])
    assert np.isfinite(numbers).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize("margin", [-30.0, -8.0, 0.0])
def test_the_encoder_takes_nothing_from_a_signature_that_leaves_no_reasonable_doubt(
    untrusted: bool, margin: float
) -> None:
    rules = np.repeat([fusion.CERTAIN, fusion.CERTAIN - 0.01], 2).astype(np.float32)
    found = np.zeros((4, len(THREATS)), np.float32)
    found[:, CODES["data_exfiltration"]] = rules
    rows = stages(4, rules=found, untrusted=np.full(4, untrusted), units=np.array([1.0, 50.0, 1.0, 50.0]))
    before = fusion.fuse(WITH_ENCODER, rows).p_value
    fused = fusion.fuse(WITH_ENCODER, dataclasses.replace(rows, deep=np.full(4, margin, np.float32)))
    assert np.all(fused.p_value[:2] <= before[:2])
    if margin < -5:
        assert np.all(fused.p_value[2:] > before[2:])
        assert {THREATS[code] for code in fused.threat[:2]} == {"data_exfiltration"}


def test_a_long_text_is_held_to_the_highest_of_as_many_ordinary_ones() -> None:
    rng = np.random.default_rng(3)
    k = 20
    many = rng.exponential(size=(40_000, k)).astype(np.float32)
    every = {name: tail.fit(many.ravel()) for name in TAILS}
    model = dataclasses.replace(MODEL, tails=every)
    alone = fusion.fuse(model, stages(40_000, attack=many[:, 0])).p_value
    long = stages(40_000, attack=many.max(axis=1), units=np.full(40_000, float(k)))
    uncorrected = fusion.fuse(model, dataclasses.replace(long, units=np.ones(40_000))).p_value
    for alpha in (0.01, 0.001):
        share = np.mean(fusion.fuse(model, long).p_value <= alpha)
        expected = fusion.SHARES["attack"] * alpha
        for seen in (share, np.mean(alone <= alpha)):
            assert seen == pytest.approx(expected, abs=4 * np.sqrt(expected / 40_000))
        assert np.mean(uncorrected <= alpha) > 5 * alpha


def test_length_changes_nothing_up_to_an_ordinary_text_and_never_lowers_p() -> None:
    n = 9
    windows = np.array([1, 4, 8, 9, 10, 18, 40, 400, 4_000])
    units = np.maximum(windows / fusion.UNIT_WINDOWS, 1.0)
    long = fusion.fuse(MODEL, stages(n, attack=np.full(n, 6, np.float32), units=units))
    short = fusion.fuse(MODEL, stages(n, attack=np.full(n, 6, np.float32)))
    assert long.p_value[:4].tobytes() == short.p_value[:4].tobytes()
    assert np.all(np.diff(long.p_value[3:]) > 0)
    assert np.all(np.diff(long.score[3:]) < 0)
    assert np.all(long.p_value <= 1)


def test_a_signature_beyond_doubt_counts_alike_at_any_length() -> None:
    for strength, same in ((0.93, True), (0.8, False)):
        found = rule("data_exfiltration", strength)
        short, long = (fusion.fuse(MODEL, stages(rules=found, units=np.array([k]))).p_value[0] for k in (1.0, 500.0))
        assert (short == long) == same


def test_what_a_broken_stage_says_stays_broken_in_a_long_text() -> None:
    fused = fusion.fuse(MODEL, stages(2, attack=np.full(2, np.nan, np.float32), units=np.array([1.0, 50.0])))
    assert np.isnan(fused.p_value).all()


def test_what_stages_find_in_one_window_of_a_long_text_counts_together() -> None:
    local = np.array([1.0, 1e-6, 1e-6])
    code = np.full(3, CODES["prompt_leak"], np.int8)
    fused = fusion.fuse(MODEL, stages(3, local=local, local_code=code, units=np.array([15.0, 15.0, 1.0])))
    assert (fused.p_value <= 0.001).tolist() == [False, True, False]
    assert THREATS[fused.threat[1]] == "prompt_leak"


def test_the_budget_of_a_long_text_is_kept_with_the_shares_for_one_window() -> None:
    rng = np.random.default_rng(4)
    n, k = 40_000, 16
    many = rng.exponential(size=(n, k)).astype(np.float32)
    model = dataclasses.replace(MODEL, tails={name: tail.fit(many.ravel()) for name in TAILS})
    least, next_least = np.sort(rng.uniform(size=(n, k)), axis=1)[:, :2].T
    code = np.full(n, CODES["jailbreak"], np.int8)
    both = {"local": least, "contrast": least / next_least, "local_code": code}
    long = stages(n, attack=many.max(axis=1), units=np.full(n, float(k)), **both)
    spent = (fusion.LOCAL_SHARE + fusion.CONTRAST_SHARE) * (1 - 1 / k)
    for alpha in (0.01, 0.001):
        expected = (fusion.SHARES["attack"] * (1 - spent) + spent) * alpha
        seen = np.mean(fusion.fuse(model, long).p_value <= alpha)
        assert seen == pytest.approx(expected, abs=4 * np.sqrt(expected / n))


def test_what_stands_out_from_the_rest_of_a_long_text_is_notable_at_any_length() -> None:
    own = {"contrast": np.array([1e-4, 0.5, 1e-4]), "local_code": np.full(3, CODES["prompt_leak"], np.int8)}
    fused = fusion.fuse(MODEL, stages(3, local=np.full(3, 1e-3), units=np.array([60.0, 60.0, 1.0]), **own))
    assert (fused.p_value <= 0.001).tolist() == [True, False, False]
    assert THREATS[fused.threat[0]] == "prompt_leak"


def test_what_is_near_an_exemplar_and_a_little_unusual_counts_for_more_than_either() -> None:
    near = np.array([1.0, 0.002, 0.002])
    fused = fusion.fuse(MODEL, stages(3, attack=np.array([3.0, -1.0, 3.0], np.float32), exemplars=near))
    assert fused.p_value[2] < 0.5 * min(fused.p_value[0], fused.p_value[1])
    assert fused.p_value[1] < 0.1


def test_independent_p_values_together_are_one_again() -> None:
    rng = np.random.default_rng(2)
    p = fusion.together(rng.uniform(size=100_000), rng.uniform(size=100_000))
    for level in (0.1, 0.01, 0.001):
        assert np.mean(p <= level) == pytest.approx(level, rel=0.25)
    assert fusion.together(np.zeros(1), np.ones(1))[0] == 0.0
    assert np.isnan(fusion.together(np.array([np.nan]), np.ones(1))[0])


def test_a_batch_without_a_long_text_is_judged_as_one_with() -> None:
    own = {"local": np.ones(1), "contrast": np.ones(1), "local_code": np.zeros(1, np.int8)}
    alone = fusion.fuse(MODEL, stages(attack=np.array([3.0], np.float32), **own))
    two = {name: np.repeat(value, 2) for name, value in own.items()}
    beside = fusion.fuse(MODEL, stages(2, attack=np.array([3.0, 1.0], np.float32), units=np.array([1.0, 9.0]), **two))
    assert alone.p_value[0] == beside.p_value[0]
    assert alone.threat[0] == beside.threat[0]
