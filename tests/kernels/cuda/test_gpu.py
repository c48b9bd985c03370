from __future__ import annotations

import naive
import numpy as np
import pytest
from batches import SIZES, batches

from aimds import kernels
from aimds.kernels import registry
from aimds.kernels.cuda import problem

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(problem()), reason=f"no GPU here: {problem()}")]


@pytest.fixture(autouse=True)
def _the_backend_follows_the_arrays(monkeypatch):
    monkeypatch.delenv(registry.VARIABLE, raising=False)


def on_gpu(name: str, arguments):
    import cupy

    there = [cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in arguments]
    found = getattr(kernels, name)(*there)
    return tuple(one.get() for one in found) if isinstance(found, tuple) else found.get()


@pytest.mark.parametrize("name", kernels.names())
@pytest.mark.parametrize("sizes", SIZES)
def test_a_batch_on_the_gpu_gives_what_the_cpu_gives(name, sizes):
    arguments = batches(SIZES[sizes])[name]
    naive.agree(name, on_gpu(name, arguments), getattr(kernels, name)(*arguments))


@pytest.mark.parametrize("name", kernels.names())
def test_the_present_stream_is_used(name):
    import cupy

    arguments = batches(SIZES["few big"])[name]
    expected = getattr(kernels, name)(*arguments)
    with cupy.cuda.Stream(non_blocking=True):
        naive.agree(name, on_gpu(name, arguments), expected)


@pytest.mark.parametrize("name", kernels.names())
def test_two_runs_give_the_same_bits(name):
    arguments = batches(SIZES["many small"])[name]
    first, second = on_gpu(name, arguments), on_gpu(name, arguments)
    pairs = zip(first, second, strict=True) if isinstance(first, tuple) else [(first, second)]
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)
