from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from aimds import data
from aimds.analyze import dynamics
from aimds.analyze.attractors import MODEL, TYPES, Attractors, prepared
from aimds.errors import ConfigError
from aimds.jobs.sessions import attractors, motions
from aimds.kernels import ragged

SMALL = attractors.TrainConfig(series=6, trees=5, depth=6, tried=4)


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(attractors, "LEARNT_LENGTHS", (32, 50))
    monkeypatch.setattr(attractors, "LEARNT_NOISES", (0.0, 0.1))
    monkeypatch.setattr(attractors, "LENGTHS", (50,))


def test_the_same_settings_give_the_same_trees_and_they_say_what_scikit_learn_says():
    from sklearn.ensemble import RandomForestClassifier

    model = attractors.train(SMALL)
    assert model.pack() == attractors.train(SMALL).pack()
    assert model.pack() != attractors.train(dataclasses.replace(SMALL, seed=1)).pack()
    series, _, _ = motions.drawn(motions.HELD_OUT, 50, 6, 0.1, np.random.default_rng(0))
    values, offsets = ragged.joined(series)
    x = prepared(dynamics.measured(values, offsets), np.diff(offsets))
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(x, np.arange(len(x)) % 5)
    packed = attractors.packed([one.tree_ for one in forest.estimators_], {})
    assert packed.is_sound()
    assert np.allclose(packed.shares_of(x), forest.predict_proba(x), atol=1e-6)


def test_every_series_is_counted_once_and_the_card_has_every_row():
    model = Attractors.load()
    report = attractors.evaluate(model, SMALL)
    assert [(row["values"], row["noise"]) for row in report] == [(50, noise) for noise in attractors.NOISES]
    for row in report:
        assert [sum(line) for line in row["table"]] == [SMALL.tried] * 5
        assert row["held out"] == pytest.approx(sum(row["table"][k][k] for k in range(5)) / (5 * SMALL.tried))
    card = attractors.render({**model.card, "train": dataclasses.asdict(SMALL)}, report, "v")
    assert sum(line.startswith("| 50 |") for line in card.splitlines()) == 3
    assert all(f"| {name} (" in card for name in motions.HELD_OUT["chaotic"])


def test_the_shipped_model_is_the_one_its_card_speaks_of_and_is_right_more_often_than_chance():
    model = Attractors.load()
    assert model.version in data.path("attractors_card.md").read_text("utf-8")
    rng = np.random.default_rng(11)
    for size, least in ((32, 0.5), (200, 0.7)):
        series, kinds, _ = motions.drawn(motions.HELD_OUT, size, 16, 0.1, rng)
        found = [kind.name for kind in model.kinds(*ragged.joined(series))]
        assert np.mean([a == b for a, b in zip(kinds, found, strict=True)]) > least
        others = [answer for kind, answer in zip(kinds, found, strict=True) if kind != "chaotic"]
        assert others.count("chaotic") <= 2
    assert set(found) <= set(TYPES)


def test_a_folder_is_written_with_model_card_and_manifest(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attractors, "TrainConfig", lambda seed: dataclasses.replace(SMALL, seed=seed))
    assert attractors.main(["-o", str(tmp_path / "out"), "--json"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MODEL, "attractors_card.md", "manifest.json"]
    assert '"held out"' in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert attractors.main(["-o", str(tmp_path / "file")]) == 2
    assert "error" in capsys.readouterr().err


def test_a_setting_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match="trees"):
        attractors.TrainConfig(trees=0)
