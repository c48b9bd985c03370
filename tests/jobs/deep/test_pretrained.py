"""Reading the pretrained encoder: weights, pieces and the ones that stay; what is no such file is refused."""

from pathlib import Path

import numpy as np
import pretrained_file
import pytest

from aimds.errors import ArtefactError
from aimds.jobs.deep.pretrained import COMMON, FILE, SEEN, Pretrained


@pytest.fixture(scope="module")
def made(download: Path) -> tuple[Pretrained, dict[str, np.ndarray]]:
    return Pretrained.read(download / FILE), pretrained_file.make().weights


def test_weights_are_those_of_the_file_turned_as_ours(made: tuple[Pretrained, dict[str, np.ndarray]]) -> None:
    encoder, theirs = made
    ids = np.array([3, 0, 7])
    ours = encoder.weights(ids, [0])
    assert np.array_equal(ours["word"], theirs["emb.word"][ids])
    assert np.array_equal(ours["channel"], theirs["emb.type"])
    joined = np.concatenate([theirs[f"l0.{name}.w"] for name in "qkv"])
    assert np.array_equal(ours["layer.0.qkv.weight"], joined.T)
    assert np.array_equal(ours["layer.0.down.weight"], theirs["l0.fo.w"].T)
    assert np.array_equal(ours["layer.0.norm2.weight"], theirs["l0.oln.w"])
    assert all(array.dtype == np.float32 for array in ours.values())


def test_a_layer_may_stand_more_than_once_and_none_that_is_not_there(
    made: tuple[Pretrained, dict[str, np.ndarray]],
) -> None:
    encoder, _ = made
    twice = encoder.weights(np.arange(3), [0, 0])
    assert np.array_equal(twice["layer.0.up.weight"], twice["layer.1.up.weight"])
    with pytest.raises(KeyError):
        encoder.weights(np.arange(3), [1])


def test_pieces_stay_that_text_shows_often_or_that_are_common_and_folded() -> None:
    first = ["<s>", "</s>", "<unk>", "word", "Word", "w,", "\u2581", "<mask>"]
    names = [*first, *map(str, range(10, COMMON + 10)), "rare", "seen", "\u732b"]
    counts = np.zeros(len(names), np.int64)
    counts[names.index("Word")], counts[-2], counts[-3] = SEEN, SEEN, SEEN - 1
    encoder = Pretrained(tuple(names), np.zeros(len(names), np.float32), 4, 1, b"", {})
    stays = {names[k] for k in encoder.vocabulary(counts).tolist()}
    assert {"<s>", "</s>", "<unk>", "<mask>", "word", "Word", "\u2581", "10", "seen", "\u732b"} <= stays
    assert not {"w,", "rare", str(COMMON + 9)} & stays


def test_the_tokenizer_of_some_pieces_cuts_text_into_these_alone(
    made: tuple[Pretrained, dict[str, np.ndarray]],
) -> None:
    encoder, _ = made
    everything = encoder.tokenizer()
    cut = [encoder.pieces[k] for k in everything.pieces(["ignore all"])[0]]
    assert cut == ["\u2581ignore", "\u2581all"]
    without = np.array([k for k, piece in enumerate(encoder.pieces) if piece != "\u2581all"])
    cut = [encoder.pieces[without[k]] for k in encoder.tokenizer(without).pieces(["ignore all"])[0]]
    assert cut == ["\u2581ignore", "\u2581a", "l", "l"]


def test_another_or_a_damaged_file_is_refused(download: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="name its folder"):
        Pretrained.read(tmp_path / FILE)
    content = (download / FILE).read_bytes()
    for body, problem in ((b"GGUF" + content[4:], "no encoder"), (content[:600], "damaged")):
        (tmp_path / FILE).write_bytes(body)
        with pytest.raises(ArtefactError, match=problem):
            Pretrained.read(tmp_path / FILE)
