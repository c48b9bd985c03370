from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from aimds import kernels
from aimds.errors import BackendError, ConfigError, KernelError
from aimds.kernels import placement, registry


class OnDevice:
    """Stands for an array on a GPU: only where it lives is looked at."""

    __cuda_array_interface__: ClassVar[dict[str, object]] = {}
    dtype, ndim, shape = np.dtype(np.float32), 1, (3,)

    def __len__(self) -> int:
        return 3


def test_a_second_implementation_on_a_backend_is_refused():
    registry.find("dtw", "cpu")
    with pytest.raises(KernelError, match="already") as caught:
        registry.register("dtw", "cpu")(lambda: None)
    assert caught.value.kernel == "dtw"


def test_an_unknown_kernel_lists_the_known_ones():
    for ask in (lambda: registry.find("dwt", "cpu"), lambda: registry.register("dwt", "cpu")(lambda: None)):
        with pytest.raises(KernelError) as caught:
            ask()
        assert all(name in str(caught.value) for name in kernels.names())


def test_an_unknown_backend_is_refused():
    with pytest.raises(BackendError, match="tpu"):
        registry.register("dtw", "tpu")(lambda: None)
    with pytest.raises(BackendError, match="tpu"):
        registry.find("dtw", "tpu")


def test_arguments_on_two_machines_are_refused():
    with pytest.raises(KernelError, match="some live on"):
        registry.choose("dtw", [np.zeros(3, np.float32), OnDevice(), 4])


@pytest.mark.parametrize("value", ["auto", "cpu", "cuda"])
def test_a_kernel_runs_where_its_arguments_live_whatever_is_wanted(monkeypatch, value):
    monkeypatch.setenv("AIMDS_BACKEND", value)
    assert registry.choose("dtw", [np.zeros(3), 4]) == "cpu"
    assert registry.choose("dtw", [OnDevice()]) == "cuda"


@pytest.mark.parametrize("value", ["auto", "cpu"])
def test_the_backend_is_the_cpu_where_nothing_else_runs(monkeypatch, value):
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "no device")
    monkeypatch.setenv("AIMDS_BACKEND", value)
    assert kernels.backend() == "cpu"


def test_cuda_without_a_gpu_says_why_and_does_not_fall_back(monkeypatch):
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "no device")
    monkeypatch.setenv("AIMDS_BACKEND", "cuda")
    for ask in (kernels.backend, kernels.warmup, placement.place):
        with pytest.raises(BackendError, match="no device"):
            ask()


def test_auto_takes_a_gpu_that_works(monkeypatch):
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "")
    monkeypatch.setenv("AIMDS_BACKEND", "auto")
    assert kernels.backend() == "cuda"


def test_what_is_wanted_goes_before_the_variable(monkeypatch):
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "")
    for variable, wanted, found in (("cuda", "cpu", "cpu"), ("cpu", "cuda", "cuda"), ("cpu", "auto", "cpu")):
        monkeypatch.setenv("AIMDS_BACKEND", variable)
        assert kernels.backend(wanted) == found
    monkeypatch.setenv("AIMDS_BACKEND", "gpu")
    assert kernels.backend("cpu") == "cpu"
    with pytest.raises(ConfigError, match="backend = 'tpu': expected auto, cpu or cuda"):
        kernels.backend("tpu")


def test_a_wrong_backend_name_is_refused(monkeypatch):
    monkeypatch.setenv("AIMDS_BACKEND", "gpu")
    with pytest.raises(ConfigError, match="auto, cpu or cuda") as caught:
        kernels.backend()
    assert (caught.value.key, caught.value.value) == ("AIMDS_BACKEND", "gpu")


def test_warmup_says_every_name_once():
    said: list[str] = []
    kernels.warmup(said.append)
    assert tuple(said) == kernels.names()


@pytest.mark.parametrize("threads", [0, -1, 2.0, True])
def test_threads_must_be_a_positive_int(threads):
    with pytest.raises(KernelError) as caught:
        kernels.dtw(np.zeros(1, np.float32), np.array([0, 1], np.int64), np.zeros((1, 1), np.float32), threads=threads)
    assert caught.value.argument == "threads"


def test_a_kernel_run_unchecked_gives_what_it_gives_checked():
    values = np.frombuffer(b"three small words", np.uint8)
    offsets = np.array([0, 5, 17], np.int64)
    right = kernels.ngram_hash(values, offsets, bits=12)
    for threads in (1, 2):
        found = kernels.unchecked("ngram_hash", values, offsets, 12, threads=threads)
        for got, expected in zip(found, right, strict=True):
            np.testing.assert_array_equal(got, expected)
    with pytest.raises(KernelError, match="some live on the CPU"):
        kernels.unchecked("ngram_hash", values, OnDevice(), 12)
