from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

PIECES, PLACES, KINDS = 50, 40, 3
SAMPLE = [[1, 7, 7], [], [49], list(range(40)), [0, 3]]


def text(rows: list[list[int]], seed: int = 0):
    kinds = np.random.default_rng(seed).integers(0, KINDS, len(rows)).astype(np.int32)
    return *naive.ragged(rows, np.int32), kinds


def tables(width: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(0.3, 1, (count, width)).astype(np.float32) for count in (PIECES, PLACES, KINDS))
    return *drawn, *rng.normal(1, 0.5, (2, width)).astype(np.float32)


def states(count: int, width: int, seed: int = 2):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.5, 2, (2, count, width)).astype(np.float32)
    return *rows, *rng.normal(1, 0.5, (3, width)).astype(np.float32)


def check_embed(rows, width: int = 24, oracle=naive.embed) -> None:
    arguments = (*text(rows), *tables(width))
    naive.agree("embed", kernels.embed(*arguments), oracle(*arguments))


def check_add_norm(count: int, width: int, oracle=naive.add_norm) -> None:
    arguments = states(count, width)
    naive.agree("add_norm", kernels.add_norm(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[5]], SAMPLE, [[1, 2], [3]] * 20])
def test_embeddings_of_small_batches_agree_with_the_oracle(rows):
    check_embed(rows)


@pytest.mark.parametrize("width", [2, 31, 32, 33, 384, 1024])
def test_every_width_agrees_with_the_oracle(width):
    check_embed(SAMPLE, width)
    check_add_norm(5, width)


@pytest.mark.parametrize("count", [0, 1, 3, 700])
def test_sums_of_any_number_of_tokens_agree_with_the_oracle(count):
    check_add_norm(count, 24)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, PIECES - 1), max_size=PLACES), max_size=5))
def test_any_rows_agree_with_the_oracle(rows):
    check_embed(rows, 8)


def test_values_far_from_zero_are_normalised_as_well():
    one, other, *rest = states(4, 64)
    far = one + np.float32(1000)
    found = kernels.add_norm(far, other, *rest)
    naive.agree("add_norm", found, naive.add_norm(far, other, *rest))


def test_a_row_does_not_depend_on_its_neighbours_or_on_threads():
    tokens, offsets, kinds = text(SAMPLE)
    whole = kernels.embed(tokens, offsets, kinds, *tables(24), threads=3)
    for r, row in enumerate(SAMPLE):
        alone = kernels.embed(*naive.ragged([row], np.int32), kinds[r : r + 1], *tables(24))
        assert np.array_equal(whole[offsets[r] : offsets[r + 1]], alone)
    one, other, *rest = states(40, 24)
    added = kernels.add_norm(one, other, *rest, threads=3)
    assert np.array_equal(added[7:9], kernels.add_norm(one[7:9], other[7:9], *rest))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("position[place]", "position[0]"),
        ("channel[kind]", "channel[0]"),
        ("word[token]", "word[token - 1]"),
        ("gain, bias))", "bias, gain))"),
    ],
)
def test_a_wrong_oracle_of_embeddings_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check_embed(SAMPLE, oracle=naive.mutant("embed", right, wrong))


@pytest.mark.parametrize(("right", "wrong"), [("+ float(c)", ""), ("gain, bias)", "bias, gain)"), ("a + b", "a - b")])
def test_a_wrong_oracle_of_sums_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check_add_norm(4, 24, naive.mutant("add_norm", right, wrong))


def test_an_argument_of_embed_that_does_not_fit_is_named():
    good = dict(
        zip(
            ("tokens", "offsets", "kinds", "word", "position", "channel", "gain", "bias"),
            (*text(SAMPLE), *tables(24)),
            strict=True,
        )
    )
    wrong = {
        "tokens": good["tokens"] + 1,
        "kinds": good["kinds"] + 3,
        "position": good["position"].astype(np.float64),
        "channel": good["channel"][:, :3],
        "gain": good["gain"][:5],
        "bias": good["bias"][None],
        "word": np.zeros((PIECES, 0), np.float32),
    }
    for argument, value in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.embed(**good | {argument: value})
        assert (caught.value.kernel, caught.value.argument) == ("embed", argument)
    for problem, change in (
        ("more than 39 tokens", {"position": good["position"][:39]}),
        ("not over all", {"offsets": np.minimum(good["offsets"], 45)}),
        ("not over all", {"offsets": np.maximum(good["offsets"], 1)}),
    ):
        with pytest.raises(KernelError, match=problem) as caught:
            kernels.embed(**good | change)
        assert caught.value.argument == "offsets"


def test_states_that_are_too_wide_are_refused():
    with pytest.raises(KernelError, match="at most 1024"):
        kernels.embed(*text(SAMPLE), *tables(1025))
    with pytest.raises(KernelError, match="at most 1024"):
        kernels.add_norm(*states(2, 1025))
