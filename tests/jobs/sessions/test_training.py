from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aimds.analyze.session_model import MODEL, SessionModel
from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.sessions import card, evaluation, material, reference, training
from aimds.jobs.sessions.material import Material
from aimds.jobs.sessions.training import TrainConfig, train

CONFIG = TrainConfig(sessions=400, pairs=60)


def made(seed: int = 0) -> Material:
    rng = np.random.default_rng(seed)
    sizes = {("x/one (attacks)", 1): 60, ("x/one plain", 0): 60, ("y/two", 0): 80}
    values, label, source = [], [], []
    for (name, kind), count in sizes.items():
        for _ in range(count):
            row = rng.exponential(0.4, int(rng.integers(2, 9)))
            values.append(row + (np.linspace(0, 5, len(row)) if kind else 0))
            label.append(kind)
            source.append(name)
    nothing = np.zeros(len(values))
    licenses = dict.fromkeys(source, "MIT")
    threats = [["jailbreak"] * len(row) for row in values]
    return Material("made", np.array(label, np.int8), np.array(source, object), values, threats, nothing, nothing,
                    licenses, "0" * 64, "m")  # fmt: skip


def test_the_same_seed_makes_the_same_model_and_another_one_does_not():
    first = train(made(), CONFIG).pack()
    assert train(made(), CONFIG).pack() == first
    assert train(made(), TrainConfig(sessions=400, pairs=60, seed=1)).pack() != first


def test_a_trained_model_tells_ramps_from_calm_and_keeps_its_rate():
    model = SessionModel.unpack(MODEL, train(made(), TrainConfig(sessions=2000, pairs=60)).pack())
    rng = np.random.default_rng(9)
    calm = reference.simulated("benign", 2000, 20, rng)
    assert evaluation.share_below(model, calm, 0.05) < 0.08
    assert evaluation.share_below(model, reference.simulated("ramp", 500, 20, rng), 0.05) > 0.8
    assert evaluation.ever_below(model, calm, 0.01) >= evaluation.share_below(model, calm, 0.01)


def test_the_shipped_model_finds_nine_of_ten_simulated_ramps_at_one_percent():
    model = SessionModel.load()
    rng = np.random.default_rng(11)
    calm, pushed = (
        model.p_values(training.parts_of(reference.sample_of(reference.simulated(kind, count, 20, rng))))
        for kind, count in (("benign", 8000), ("ramp", 3000))
    )
    threshold = -evaluation.at_rate(-calm, 0.01)
    assert (pushed < threshold).mean() >= 0.9


def test_a_pair_is_judged_by_tails_that_never_saw_its_family():
    assert training.others(["x/one plain", "y/two"], "one") == ["y/two"]
    assert made().families == ["one", "two"]
    assert train(made(), CONFIG).card["pairs"] == {"one": [60, 60]}


def test_a_source_with_few_benign_sessions_makes_no_tails():
    few = made()
    few.label[few.source == "y/two"] = 1
    few.label[60:] = 1
    with pytest.raises(DataError, match="50 benign sessions"):
        train(few, CONFIG)


def test_at_a_rate_no_more_benign_sessions_lie_above():
    assert evaluation.at_rate(np.array([1.0, 3.0, 3.0, 2.0]), 0.25) == 3.0
    assert evaluation.at_rate(np.arange(100.0), 0.05) == 94.0


def test_peak_and_accumulation_counts_what_stays_and_what_climbs():
    rows = [np.array([0.0, 3.0, 3.0]), np.array([1.0, 2.0, 3.0]), np.zeros(0)]
    kinds = [["none", "jailbreak", "prompt_leak"], ["none", "jailbreak", "jailbreak"], []]
    found = evaluation.accumulated(rows, kinds, [row / 10 for row in rows])
    assert found == pytest.approx([0.3 + 0.45 * 2 / 3 + 0.15, 0.3 + 0.45 * 2 / 3 + 0.2, 0.0])


def test_the_card_names_sources_and_what_is_not_shown():
    model = train(made(), CONFIG)
    report = {
        "sets": [{"set": "s", "method": "m", "attacks": 2, "benign": 3, "at 0.01": [0.5, 0, 1], "at 0.05": [1, 0, 1]}]
    }
    text = card.render(model.card, {**report, "at p <= 0.01": {"benign": 0.01}}, "v")
    assert "| y/two | 80 | MIT |" in text
    assert "| s | 2 | 3 | m | 50.0 (0.0–100.0) |" in text
    assert "What this does not show" in text


def test_labelled_sessions_are_screened_and_followed_to_their_last_turn():
    from aimds.screener import Screener

    frame = pl.DataFrame(
        {
            "session_id": ["a", "a", "a", "b"],
            "turn": [0, 1, 2, 0],
            "role": ["user", "assistant", "user", "assistant"],
            "text": ["hello there", "I'm sorry, but I can't.", "hello there again", "bye"],
            "label": [0, 0, 0, 1],
            "source": "x/one",
            "license": "MIT",
        }
    )
    got = material.follow("made", frame, Screener.default(profile="fast"))
    assert [len(row) for row in got.values] == [2, 0]
    assert got.label.tolist() == [0, 1]
    assert got.rephrase[0] > 0.5


def test_what_cannot_be_used_is_named(tmp_path):
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(SchemaError, match="session_id"):
        material.read(tmp_path / "x.parquet", None)
    (tmp_path / "y.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable Parquet"):
        material.read(tmp_path / "y.parquet", None)
    with pytest.raises(ConfigError, match="prevalence"):
        TrainConfig(prevalence=0.0)
    with pytest.raises(DataError, match="pairs"):
        training.scale_of(np.ones(5), np.ones(5), 0.01)
