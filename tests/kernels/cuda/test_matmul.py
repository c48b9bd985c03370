from __future__ import annotations

import numpy as np
import pytest
from standin import There, standin

from aimds import kernels
from aimds.errors import KernelError
from aimds.kernels.cuda import matmul


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 5000])
def test_a_product_on_a_gpu_is_that_of_the_cpu(monkeypatch, count):
    place, _, _ = standin(monkeypatch)
    rng = np.random.default_rng(0)
    rows, matrix = (rng.normal(size=shape).astype(np.float32) for shape in ((count, 24), (24, 7)))
    product = kernels.matmul(place.put(rows), place.put(matrix))
    assert isinstance(product, There)
    assert np.allclose(product.get(), kernels.matmul(rows, matrix), atol=1e-5)


def test_every_product_has_the_same_number_of_rows(monkeypatch):
    place, _, host = standin(monkeypatch)
    shapes = []
    plain = host.multiply
    monkeypatch.setattr(host, "multiply", lambda a, b, c: shapes.append(a.shape) or plain(a, b, c))
    kernels.matmul(place.put(np.ones((4100, 3), np.float32)), place.put(np.ones((3, 2), np.float32)))
    assert shapes == [(matmul.ROWS, 3)] * 3


def test_a_product_of_arrays_on_two_machines_is_refused(monkeypatch):
    place, _, _ = standin(monkeypatch)
    one = np.ones((2, 2), np.float32)
    with pytest.raises(KernelError, match="some live on the CPU"):
        kernels.matmul(place.put(one), one)
