"""A calibration is refused when it is not the one that was made, and judges each row by the tails of its own group."""

import json
from pathlib import Path

import numpy as np
import pytest
from score_factory import scores, shipped

from aimds import data
from aimds.detect import calibration, fusion, tail
from aimds.detect.calibration import CALIBRATION, Calibration
from aimds.detect.script import ARABIC, CYRILLIC, LATIN
from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.calibrate import packed

MODEL = shipped()
RNG = np.random.default_rng(1)
CARD = {"model": MODEL.version, "profile": "fast"}


def high(by: float) -> tail.Tail:
    return tail.fit(RNG.normal(size=5000) + by)


def made(**tails: tail.Tail) -> Calibration:
    return packed({name.replace("__", "@").replace("_", "."): one for name, one in tails.items()}, CARD)


def written(folder: Path, one: Calibration) -> Path:
    folder.mkdir()
    (folder / CALIBRATION).write_bytes(data.pack(one.pack()))
    data.seal(folder)
    return folder


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    one = made(attack=high(1), attack__trusted_cyrillic=high(3))
    again = Calibration.load(written(tmp_path / "c", one))
    assert again.version == one.version
    assert set(again.tails) == {"attack", "attack@trusted.cyrillic"}
    x = np.linspace(-3, 9, 50)
    assert np.array_equal(again.tails["attack"].p_value(x), one.tails["attack"].p_value(x))


def test_a_changed_cut_or_missing_file_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "c", made(attack=high(1)))
    content = (folder / CALIBRATION).read_bytes()
    for broken in (content[:-9], content + b"x", b""):
        (folder / CALIBRATION).write_bytes(broken)
        with pytest.raises(ArtefactError, match="SHA-256"):
            Calibration.load(folder)
    (folder / CALIBRATION).write_bytes(content)
    for listing in ("{}", "[]", "no json"):
        (folder / data.MANIFEST).write_text(listing)
        with pytest.raises(ArtefactError, match="does not name"):
            Calibration.load(folder)
    with pytest.raises(ArtefactError, match="aimds calibrate"):
        Calibration.load(tmp_path / "nowhere")


@pytest.mark.parametrize("change", ["tail", "values", "card", "format", "group"])
def test_a_calibration_that_cannot_be_is_refused_even_with_a_good_hash(change: str) -> None:
    arrays = made(attack=high(1)).pack()
    card = json.loads(arrays["card"].tobytes())
    if change in ("tail", "values"):
        arrays[f"attack.{change}"] = np.full_like(arrays[f"attack.{change}"], np.nan)
    elif change == "card":
        del arrays["card"]
    elif change == "format":
        arrays["card"] = np.frombuffer(json.dumps({**card, "calibration_format": 99}).encode(), np.uint8)
    else:
        arrays |= high(1).arrays("attack@martian")
    with pytest.raises(ArtefactError):
        Calibration.unpack("x", data.pack(arrays))


def test_a_calibration_changes_the_model_and_its_version() -> None:
    one = made(attack=high(1))
    model = one.apply(MODEL, profile="fast")
    assert model.version == f"{MODEL.version}+{one.version}"
    assert model.tails["attack"] is one.tails["attack"]
    assert model.tails["rules"] is MODEL.tails["rules"]
    assert MODEL.tails["attack"] is not one.tails["attack"]


def test_a_calibration_of_another_model_or_profile_is_refused() -> None:
    one = made(attack=high(1))
    with pytest.raises(ConfigError, match="made for model other"):
        one.apply(shipped("other"))
    with pytest.raises(ConfigError, match="profile cascade"):
        one.apply(MODEL, profile="cascade")


def test_a_calibration_made_for_another_gray_zone_is_refused_where_the_encoder_judges_it() -> None:
    model = shipped(deep=True)
    card = {"model": model.version, "profile": "cascade", "gray": 0.2}
    one = packed({"attack": high(1)}, card)
    problem = r"gray zone from p = 0\.05, not 0\.2; screen with gray = 0\.2, or run `aimds calibrate --gray 0\.05`"
    with pytest.raises(ConfigError, match=problem):
        one.apply(model, profile="cascade", gray=0.05)
    with pytest.raises(ConfigError, match="not None"):
        packed({"attack": high(1)}, {**card, "gray": None}).apply(model, profile="cascade", gray=0.05)
    assert one.apply(model, profile="cascade", gray=0.2).version == one.apply(model).version
    # Without an encoder, or where it sees every text, no zone decides what is judged.
    assert one.apply(shipped(), profile="cascade", gray=0.05).tails["attack"] is one.tails["attack"]
    for profile in ("fast", "full"):
        packed({"attack": high(1)}, {**card, "profile": profile}).apply(model, profile=profile, gray=0.05)


def test_a_row_is_judged_by_its_script_then_its_channel_then_by_all_traffic() -> None:
    model = made(attack=high(1), attack__trusted=high(2), attack__trusted_cyrillic=high(3)).apply(MODEL)
    rows = scores(np.random.default_rng(2), 3)
    rows.attack[:] = 4.0
    rows.margin[:], rows.rules[:] = -1.0, 0.0
    rows.untrusted[:] = False
    p = calibration.fuse(model, rows, np.array([CYRILLIC, LATIN, ARABIC], np.int8)).p_value
    share = fusion.SHARES["attack"]
    for k, name in enumerate(("attack@trusted.cyrillic", "attack@trusted", "attack@trusted")):
        assert p[k] == pytest.approx(min(float(model.tails[name].p_value(4.0)) / share, 1.0), rel=1e-6)
    rows.untrusted[:] = True
    again = calibration.fuse(model, rows, np.array([CYRILLIC, LATIN, ARABIC], np.int8)).p_value
    plain = calibration.for_group(model, "")
    np.testing.assert_array_equal(again, fusion.fuse(plain, rows).p_value)


def test_without_groups_fusion_is_untouched_and_with_them_no_row_depends_on_another() -> None:
    rng = np.random.default_rng(3)
    rows, script = scores(rng, 60), rng.integers(0, 5, 60).astype(np.int8)
    np.testing.assert_array_equal(calibration.fuse(MODEL, rows, script).p_value, fusion.fuse(MODEL, rows).p_value)
    model = made(attack__trusted=high(2), attack__trusted_latin=high(3), patterns__untrusted=high(0)).apply(MODEL)
    whole = calibration.fuse(model, rows, script)
    for row in range(0, 60, 7):
        alone = calibration.fuse(model, calibration.take(rows, np.array([row])), script[row : row + 1])
        assert alone.p_value[0] == whole.p_value[row]
        np.testing.assert_array_equal(alone.scores[0], whole.scores[row])
        assert alone.threat[0] == whole.threat[row]


def test_no_rows_fuse_to_no_rows() -> None:
    model = made(attack__trusted=high(2)).apply(MODEL)
    none = scores(np.random.default_rng(4), 0)
    assert len(calibration.fuse(model, none, np.zeros(0, np.int8)).p_value) == 0


def test_every_score_that_has_a_tail_is_a_column() -> None:
    columns = calibration.score_columns(scores(np.random.default_rng(5), 10, deep=True))
    assert {name.partition(".")[0] for name in MODEL.tails} | {"deep"} == set(columns)
    assert all(column.shape == (10,) for column in columns.values())


def test_taking_and_joining_rows_gives_the_rows_back(tmp_path: Path) -> None:
    rows = scores(np.random.default_rng(6), 20)
    cut = [calibration.take(rows, part) for part in np.array_split(np.arange(20), 3)]
    again = calibration.join(cut)
    np.testing.assert_array_equal(again.rules, rows.rules)
    np.testing.assert_array_equal(again.untrusted, rows.untrusted)
    assert again.deep is None
