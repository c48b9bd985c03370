"""The encoder's forward by kernels: on the CPU, on a GPU that is not there (the host shim), and on one that is."""

from __future__ import annotations

import tracemalloc
from typing import Any

import encoder_file
import naive
import numpy as np
import pytest
from host import ORDERS, missing
from standin import There, standin

from aimds.detect import encoder
from aimds.detect.deep import Deep
from aimds.errors import KernelError
from aimds.kernels import placement
from aimds.kernels.cuda import problem
from aimds.kernels.placement import HOST

LAYERS = 2
SIZES = {"empty": (), "one large": (160,), "few big": (160, 2, 129), "many small": (3, 2, 7) * 15}
WEIGHTS = encoder_file.weights(LAYERS)
PARITY = 1e-3
"""How far logits of two machines may be apart."""

shim = pytest.mark.skipif(bool(missing()), reason=missing() or "present")
needs_gpu = pytest.mark.skipif(bool(problem()), reason=f"no GPU here: {problem()}")


def windows(sizes: tuple[int, ...], seed: int = 0) -> tuple[list[list[int]], np.ndarray]:
    """Word pieces of windows, and their kinds."""
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(encoder_file.PIECES), size).tolist() for size in sizes]
    return drawn, rng.integers(0, 2, len(sizes)).astype(np.int32)


def logits(place: Any, pieces: list[list[int]], kinds: np.ndarray, weights: Any = WEIGHTS, **sizes: int) -> np.ndarray:
    """What `forward` gives on ``place``."""
    given = {"layers": LAYERS, "heads": encoder_file.TINY.heads} | sizes
    tokens, offsets = naive.ragged(pieces, np.int32)
    there = {name: place.put(weights[name]) for name in encoder.names(given["layers"])}
    found = encoder.forward(there, *map(place.put, (tokens, offsets, kinds)), **given)
    return np.asarray(place.fetch(found)[0])


def oracle(pieces: list[list[int]], kinds: np.ndarray, weights: Any = WEIGHTS, layers: int = LAYERS) -> np.ndarray:
    heads = encoder_file.TINY.heads
    rows = [naive.encoder(weights, one, bool(kind), layers, heads) for one, kind in zip(pieces, kinds, strict=True)]
    return np.array(rows).reshape(len(pieces), 3)


@pytest.mark.parametrize("sizes", SIZES)
def test_logits_on_the_cpu_are_those_of_a_plain_encoder(sizes: str) -> None:
    batch = windows(SIZES[sizes])
    np.testing.assert_allclose(logits(HOST, *batch), oracle(*batch), atol=1e-4)


@pytest.mark.parametrize("pooled", [1, 2, 3])
def test_the_head_sees_the_mean_states_after_as_many_last_layers_as_it_has_rows_for(pooled: int) -> None:
    layout = encoder_file.Layout(pooled=pooled)
    weights, batch = encoder_file.weights(3, layout=layout), windows(SIZES["few big"])
    expected = oracle(*batch, weights, 3)
    np.testing.assert_allclose(logits(HOST, *batch, weights, layers=3), expected, atol=1e-4)
    deep = Deep.unpack("deep.npz", encoder_file.content(3, layout=layout))
    found = deep.logits(deep.pooled(batch[0], batch[1].astype(bool)))
    np.testing.assert_allclose(found, oracle(*batch, deep.weights, 3), atol=1e-3)


def test_they_are_those_of_the_graph_that_onnxruntime_runs() -> None:
    deep = Deep.unpack("deep.npz", encoder_file.content(LAYERS))
    pieces, kinds = windows(SIZES["few big"])
    for one, kind, found in zip(pieces, kinds, logits(HOST, pieces, kinds, deep.weights), strict=True):
        given = {"words": deep._words(one), "untrusted": np.array([kind], np.int64)}
        np.testing.assert_allclose(found, deep.logits(deep._session.run(None, given)[0])[0], atol=1e-4)


@shim
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", SIZES)
def test_logits_of_a_gpu_are_those_of_a_plain_encoder(monkeypatch, sizes: str, order: int) -> None:
    place, _, host = standin(monkeypatch)
    host.order = order
    batch = windows(SIZES[sizes])
    np.testing.assert_allclose(logits(place, *batch), oracle(*batch), atol=1e-4)


@shim
def test_a_window_does_not_depend_on_its_neighbours(monkeypatch) -> None:
    place, _, _ = standin(monkeypatch)
    pieces, kinds = windows((5, 160, 1, 31))
    whole = logits(place, pieces, kinds)
    assert np.array_equal(logits(place, pieces[::-1], kinds[::-1].copy())[::-1], whole)
    for k, one in enumerate(pieces):
        assert np.array_equal(logits(place, [one], kinds[k : k + 1])[0], whole[k])


@shim
def test_nothing_comes_back_from_a_gpu_but_logits(monkeypatch) -> None:
    place, _, host = standin(monkeypatch)
    back: list[int] = []
    get = There.get
    monkeypatch.setattr(There, "get", lambda self: back.append(self.nbytes) or get(self))
    logits(place, *windows(SIZES["few big"]))
    assert back == [3 * 3 * 4]
    ran = [launch.kernel for launch in host.launched]
    layer = ["attention", "add_norm", "bias_gelu", "add_norm", "pooled_logits"]
    assert ran == ["embed", *layer * LAYERS]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda pieces, kinds: logits(HOST, pieces, 1 - kinds),
        lambda pieces, kinds: logits(HOST, [one[::-1] for one in pieces], kinds),
        lambda pieces, kinds: logits(HOST, pieces, kinds, layers=1),
        lambda pieces, kinds: logits(HOST, pieces, kinds, heads=1),
        lambda pieces, kinds: logits(HOST, pieces, kinds, {**WEIGHTS, "layer.1.qkv.bias": np.zeros(72, np.float32)}),
        lambda pieces, kinds: logits(HOST, pieces, kinds, {**WEIGHTS, "layer.0.norm2.bias": np.zeros(24, np.float32)}),
        lambda pieces, kinds: logits(HOST, [pieces[0] + pieces[1], pieces[2]], kinds[1:]).repeat([2, 1], 0),
    ],
)
def test_another_encoder_does_not_pass_for_this_one(wrong) -> None:
    batch = windows((9, 20, 4))
    assert np.abs(wrong(*batch) - oracle(*batch)).max() > PARITY


def test_weights_that_do_not_fit_are_refused() -> None:
    batch = windows((3,))
    for name, shape in (("layer.0.up.weight", (23, 40)), ("layer.1.down.bias", (40,)), ("head.weight", (48, 2))):
        with pytest.raises(KernelError):
            logits(HOST, *batch, {**WEIGHTS, name: np.zeros(shape, np.float32)})
    with pytest.raises(KernelError, match="at most 64"):
        logits(HOST, *batch, encoder_file.weights(LAYERS, layout=encoder_file.Layout(width=130)))


def test_names_are_those_of_all_weights() -> None:
    assert set(encoder.names(LAYERS)) == set(WEIGHTS)


def test_as_much_memory_is_taken_as_is_said() -> None:
    batch = windows((160,) * 13)
    tokens = sum(map(len, batch[0]))
    logits(HOST, *batch)
    tracemalloc.start()
    try:
        logits(HOST, *batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    said = encoder.token_bytes(WEIGHTS) * tokens
    assert 0.5 * said < peak < 1.1 * said


@pytest.fixture(scope="module")
def trained() -> Deep:
    """An encoder of the sizes that are trained, its weights random."""
    return Deep.unpack("deep.npz", encoder_file.content(6, layout=encoder_file.TRAINED))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("sizes", SIZES)
def test_logits_of_a_real_gpu_are_those_of_the_cpu(trained: Deep, sizes: str) -> None:
    layout = {"layers": 6, "heads": encoder_file.TRAINED.heads}
    pieces, kinds = windows(SIZES[sizes])
    found = logits(placement.place("cuda"), pieces, kinds, trained.weights, **layout)
    np.testing.assert_allclose(found, logits(HOST, pieces, kinds, trained.weights, **layout), atol=PARITY)
    for one, kind, ours in zip(pieces, kinds, found, strict=True):
        given = {"words": trained._words(one), "untrusted": np.array([kind], np.int64)}
        np.testing.assert_allclose(ours, trained.logits(trained._session.run(None, given)[0])[0], atol=PARITY)


@pytest.mark.gpu
@needs_gpu
def test_a_window_on_a_real_gpu_does_not_depend_on_its_neighbours(trained: Deep) -> None:
    layout = {"layers": 6, "heads": encoder_file.TRAINED.heads}
    place = placement.place("cuda")
    pieces, kinds = windows((5, 160, 1, 31, *(40,) * 100))
    whole = logits(place, pieces, kinds, trained.weights, **layout)
    assert np.array_equal(whole, logits(place, pieces, kinds, trained.weights, **layout))
    for k in (0, 1, 2, 3, 50, 103):
        alone = logits(place, pieces[k : k + 1], kinds[k : k + 1], trained.weights, **layout)
        assert np.array_equal(alone[0], whole[k])
