from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Fault, Host, missing, mutant
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mutants import refused

from aimds.errors import KernelError
from aimds.kernels.cuda import topk

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")


def check(queries, bank, k: int, host: Host | None = None) -> None:
    queries, bank = np.asarray(queries, np.float32), np.asarray(bank, np.float32)
    naive.agree("topk", topk.run(host or Host(), queries, bank, k), naive.topk(queries, bank, k))


def ties() -> tuple[np.ndarray, np.ndarray]:
    """Few distinct values, so that many scores are equal."""
    rng = np.random.default_rng(0)
    return rng.integers(-2, 3, (5, 6)), rng.integers(-2, 3, (300, 6))


def close() -> tuple[np.ndarray, np.ndarray]:
    """Two octets, the second larger by so little that float32 sums often say the opposite."""
    queries, bank = normal(30, 8, 20)
    bank[1:] = -np.abs(bank[1:])
    return queries, np.concatenate([bank, bank * np.float32(1 + 2**-23)])


def normal(queries: int, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(queries, dim)).astype(np.float32), rng.normal(size=(rows, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("queries", "bank", "k"),
    [
        (np.empty((0, 4)), np.ones((3, 4)), 2),
        (np.ones((2, 4)), np.empty((0, 4)), 2),
        (np.empty((2, 0)), np.empty((3, 0)), 2),
        ([[1.0]], [[2.0]], 1),
        ([[1.0]], [[2.0]], 5),
        ([[-0.0, 0.0]], [[2.0, 1.0], [-1.0, 3.0]], 2),
        (np.ones((3, 4)), np.ones((300, 4)), 7),
        (np.zeros((2, 3)), np.zeros((70, 3)), 70),
        (np.full((1, 2), 1e-30), np.full((3, 2), 1e-20), 2),
        ([[3e38, -3e38, 1.0]], [[9.0, 9.0, 1.0], [8.0, 8.0, 2.0]] * 40, 3),
    ],
)
def test_small_inputs_agree_with_the_oracle(queries, bank, k):
    check(queries, bank, k)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("k", [1, 10, 128, 129, 300, 301])
def test_equal_scores_go_to_the_lower_id(order, k):
    check(*ties(), k, Host(order))


@pytest.mark.parametrize(("queries", "rows", "dim", "k"), [(1, 3000, 3, 12), (70, 260, 33, 5), (3, 129, 17, 1)])
def test_sizes_that_fit_no_tile_agree_with_the_oracle(queries, rows, dim, k):
    check(*normal(queries, rows, dim), k)


@settings(max_examples=15)
@given(st.data(), st.integers(0, 4), st.integers(0, 90), st.integers(1, 5), st.integers(1, 12))
def test_any_input_agrees_with_the_oracle(data, queries, rows, dim, k):
    values = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.floats(-100, 100, width=32))
    drawn = (data.draw(hnp.arrays(np.float32, (n, dim), elements=values)) for n in (queries, rows))
    check(*drawn, k)


def test_a_query_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    queries, bank = normal(40, 400, 33)
    # Rows that differ in their last bits only, where a float32 product cannot tell which is larger.
    bank[200:] = bank[:200] * np.float32(1 + 2**-23)
    scores, ids = topk.run(Host(), queries, bank, 9)
    naive.agree("topk", (scores, ids), naive.topk(queries, bank, 9))
    for i in (0, 17, 39):
        for order in ORDERS:
            alone = topk.run(Host(order), queries[i : i + 1], bank, 9)
            assert np.array_equal(alone[0][0], scores[i])
            assert np.array_equal(alone[1][0], ids[i])


@pytest.mark.parametrize("k", [9, 200])
def test_queries_go_in_parts_where_memory_does_not_hold_all(monkeypatch, k):
    queries, bank = normal(7, 300, 5)
    monkeypatch.setattr(topk, "ROOM_BYTES", 4800 if k > 128 else 320)
    host = Host()
    check(queries, bank, k, host)
    assert len([launch for launch in host.launched if launch.kernel in ("topk_peaks", "topk_keys")]) == 4


def test_rows_that_float32_cannot_order_are_ordered():
    check(*close(), 1)


def test_only_few_octets_are_scored_again():
    queries, bank = normal(2, 4000, 8)
    kept = "if (near) octets[place] = p;"
    text = mutant("topk", kept, f"{kept} if (queued > 12) ids[1LL << 40] = 0;")
    check(queries, bank, 8, Host(0, text))
    with pytest.raises(Fault):
        check(queries, bank, 16, Host(0, text))


@pytest.mark.parametrize(
    ("argument", "queries", "bank"),
    [
        ("queries", [[np.nan, 1]], [[1, 2]]),
        ("queries", [[1, 1], [np.inf, 1]], [[1, 2]]),
        ("bank", [[1, 1]], [[np.inf, 2]]),
        ("bank", [[1, 1]], [[1, 2], [np.nan, 2]]),
        ("bank", [[1, 1]], [[1, 2], [1e20, 2]]),
    ],
)
def test_what_is_not_finite_is_refused(argument, queries, bank):
    with pytest.raises(KernelError) as caught:
        topk.run(Host(), np.array(queries, np.float32), np.array(bank, np.float32), 1)
    assert (caught.value.kernel, caught.value.argument) == ("topk", argument)


MUTANTS = (
    (": 0.0f;\n        }\n        __syncthreads();\n#pragma", ": 0.0f;\n        }\n#pragma"),
    ("keys[high] = a;\n            __syncthreads();", "keys[high] = a;"),
    ("octets[place] = p;\n        __syncthreads();", "octets[place] = p;"),
    ("for (int n = 1; n < OCTET; n++)\n            if", "for (int n = 1; n < OCTET - 1; n++)\n            if"),
    ("- 2.0 * bound", ""),
    ("bits | 1u << 31", "bits"),
    ("        }\n        __syncthreads();\n    }\n    const int width", "        }\n    }\n    const int width"),
    ("if (w < warp) place", "if (w <= warp) place"),
    ("u64(~ordered(score)) << 32 | id", "u64(~ordered(score)) << 32 | ~id"),
    ("(a > b) == !(low & run)", "(a > b) == !(low & step)"),
    ("before[warp] = __popc(found)", "before[warp] = 1"),
    ("octets[threadIdx.x] = rest;", ""),
)


def probe(host: Host) -> None:
    check(*normal(2, 1500, 12), 40, host)
    check(*close(), 1, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("topk", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
